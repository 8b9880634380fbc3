// Read and write .npy files: arrays of numbers, C-ordered and little-endian, as a golden bundle has them.
//
//   import {readNpy, writeNpy} from "./golden_npy.mjs";
//   const {shape, data} = readNpy("bundle/inputs/images.npy");
//   writeNpy("dump/eval/activations/conv1.npy", shape, data);
//
// A file is "\x93NUMPY", two bytes of version, the length of the header (2 bytes, from version 2 on 4), the header, a
// Python dict such as {'descr': '<f8', 'fortran_order': False, 'shape': (5, 1, 8, 8), }, and the numbers.
import {mkdirSync, readFileSync, writeFileSync} from "node:fs";
import {dirname} from "node:path";

const TYPES = {"<f8": Float64Array, "<f4": Float32Array, "<i8": BigInt64Array, "<i4": Int32Array, "|u1": Uint8Array};

/** Return {shape, data}: data is a typed array; 64-bit integers, as labels, become an ordinary array of numbers. */
export function readNpy(path) {
  const file = readFileSync(path), bytes = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file.subarray(0, 6).toString("latin1") !== "\x93NUMPY") throw new Error(`${path} is no .npy file`);
  const begin = file[6] > 1 ? 12 : 10;
  const end = begin + (file[6] > 1 ? bytes.getUint32(8, true) : bytes.getUint16(8, true));
  const header = file.subarray(begin, end).toString("latin1");
  const [, type] = header.match(/'descr': '(.*?)'/), [, lengths] = header.match(/'shape': \((.*?)\)/);
  if (!(type in TYPES) || header.includes("'fortran_order': True")) {
    throw new Error(`${path} must be C-ordered, of a type of ${Object.keys(TYPES)}`);
  }
  const shape = lengths.split(",").filter((length) => length.trim()).map(Number);
  const count = shape.reduce((product, length) => product * length, 1);
  const size = count * TYPES[type].BYTES_PER_ELEMENT;
  if (file.length < end + size) throw new Error(`${path} ends early`);
  // A typed array must begin at a multiple of its numbers' size: the bytes are copied to a buffer of their own.
  const data = new TYPES[type](new Uint8Array(file.subarray(end, end + size)).buffer);
  return {shape, data: type === "<i8" ? Array.from(data, Number) : data};
}

/** Write a Float64Array or Float32Array (or numbers, as float64), and the folders in between. */
export function writeNpy(path, shape, data) {
  const numbers = ArrayBuffer.isView(data) ? data : Float64Array.from(data);
  const type = Object.keys(TYPES).find((key) => numbers instanceof TYPES[key]);
  const lengths = shape.map((length) => `${length},`).join("");
  const dict = `{'descr': '${type}', 'fortran_order': False, 'shape': (${lengths}), }`;
  const header = Buffer.alloc(128, " "); // a multiple of 64, so that the numbers are aligned
  header.write("\x93NUMPY\x01\x00\x76\x00", "latin1"); // 0x76 = 118 bytes of dict, spaces and a newline
  header.write(dict, 10, "latin1");
  header.write("\n", 127, "latin1");
  mkdirSync(dirname(path), {recursive: true});
  writeFileSync(path, Buffer.concat([header, Buffer.from(numbers.buffer, numbers.byteOffset, numbers.byteLength)]));
}
