// Runs functions with the page's engine: reads {body, values} as one line of JSON, answers {result} or {error}.
const fs = require("fs");
const path = require("path");
const readline = require("readline");
const vm = require("vm");

for (const file of process.argv.slice(2)) {
  // Classic scripts share the names that they declare, in a page and in a worker as here.
  vm.runInThisContext(fs.readFileSync(file, "utf8"), {filename: path.basename(file)});
}

const bytesOf = (array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength);

function reviveArrays(key, value) {
  if (value?.float64 === undefined) return value;
  const bytes = Uint8Array.from(Buffer.from(value.float64, "base64"));
  return {shape: value.shape, data: new Float64Array(bytes.buffer)};
}

function replaceArrays(key, value) {
  if (value instanceof Map || value instanceof Set) return [...value];
  if (ArrayBuffer.isView(value)) return {float64: bytesOf(Float64Array.from(value)).toString("base64")};
  return typeof value === "number" && !Number.isFinite(value) ? {number: String(value)} : value;
}

const AsyncFunction = (async () => {}).constructor;

async function answer(line) {
  try {
    const {body, values} = JSON.parse(line, reviveArrays);
    const result = await new AsyncFunction(...Object.keys(values), body)(...Object.values(values));
    return JSON.stringify({result: result ?? null}, replaceArrays);
  } catch (error) {
    return JSON.stringify({error: String(error.message ?? error), stack: String(error.stack)});
  }
}

(async () => {
  for await (const line of readline.createInterface({input: process.stdin})) {
    process.stdout.write(`${await answer(line)}\n`);
  }
})();
