// Runs a policy exported by `spinup export RUN` with onnxruntime alone, in JavaScript:
//   npm install onnxruntime-node
//   node onnx_policy.mjs policy.onnx "[[0.1, 0.2, 0.3]]"    prints the actions for a batch of observations.
// In a browser, onnxruntime-web has the same interface; there, give `create` the address of the file.
import ort from "onnxruntime-node";

const [file, text] = process.argv.slice(2);
const observations = JSON.parse(text);
const session = await ort.InferenceSession.create(file);
const shape = [observations.length, observations[0].length];
const obs = new ort.Tensor("float32", Float32Array.from(observations.flat()), shape);
const { action } = await session.run({ obs });
const size = action.data.length / observations.length; // discrete actions are int64, one for each observation
const rows = observations.map((_, i) => Array.from(action.data.slice(i * size, (i + 1) * size), Number));
console.log(JSON.stringify(rows));
