// What travels in the page: one safetensors file with the images, the weights and the orders of the run.

/** The typed array of each safetensors dtype; I64 becomes Int32Array, since labels and counts are small. */
const TYPED_ARRAYS = {
  F64: Float64Array, F32: Float32Array, I64: BigInt64Array, I32: Int32Array, U32: Uint32Array, U16: Uint16Array,
  U8: Uint8Array,
};

/**
 * Read a safetensors file: 8 bytes with the length of the header, the header (JSON), then the numbers.
 *
 * @param {ArrayBuffer} buffer the bytes of the file
 * @returns {{metadata: Object, tensors: Object<string, {dtype: string, shape: number[], data: TypedArray}>}}
 */
function readSafetensors(buffer) {
  const headerLength = Number(new DataView(buffer).getBigUint64(0, true));
  const text = new TextDecoder().decode(new Uint8Array(buffer, 8, headerLength));
  const {__metadata__: metadata = {}, ...header} = JSON.parse(text);
  const tensors = {};
  for (const [name, {dtype, shape, data_offsets: [begin, end]}] of Object.entries(header)) {
    if (!(dtype in TYPED_ARRAYS)) {
      throw new Error(`dtype of ${name} must be one of ${Object.keys(TYPED_ARRAYS).join(", ")}. Got ${dtype}.`);
    }
    // A typed array must begin at a multiple of its numbers' size: the bytes are copied to a buffer of their own.
    const values = new TYPED_ARRAYS[dtype](buffer.slice(8 + headerLength + begin, 8 + headerLength + end));
    tensors[name] = {dtype, shape, data: dtype === "I64" ? Int32Array.from(values, Number) : values};
  }
  return {metadata, tensors};
}

/**
 * Read the payload of the page.
 *
 * @param {ArrayBuffer} buffer the bytes of the safetensors file
 * @returns {{config: Object, images: Object, labels: Object, weights: Object, normals: Object, order: Object}}
 *   the metadata, and the tensors {shape, data} by the two parts of their names: `images.train`, `normals[seed]`,
 *   `weights["layer1.0.conv1.weight"]`, ...
 */
function openPayload(buffer) {
  const {metadata, tensors} = readSafetensors(buffer);
  const payload = {config: JSON.parse(metadata.glassnet), images: {}, labels: {}, weights: {}, normals: {}, order: {}};
  for (const [name, {shape, data}] of Object.entries(tensors)) {
    const dot = name.indexOf(".");
    payload[name.slice(0, dot)][name.slice(dot + 1)] = {shape, data};
  }
  return payload;
}
