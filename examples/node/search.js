// Prints the line of standard input whose meaning is closest to a question:  search.js MODEL.qrn QUESTION < LINES
// QUERN_ADDON: the built addon; else quern.node beside this file.
const fs = require("fs");
const path = require("path");
const quern = require(process.env.QUERN_ADDON || path.join(__dirname, "quern.node"));

const [file, question] = process.argv.slice(2);
if (!question) {
  console.error("usage: search.js MODEL.qrn QUESTION < LINES");
  process.exit(2);
}
const lines = fs.readFileSync(0, "utf8").split("\n").filter((line) => line);
const model = quern.open(file);
const [q, vectors] = [model.embed([question]), model.embed(lines)];
let best = -2, answer = "";
lines.forEach((line, i) => {
  let score = 0;
  for (let k = 0; k < model.width; k++) score += q[k] * vectors[i * model.width + k];
  if (score > best) [best, answer] = [score, line];
});
console.log(best.toFixed(3) + "  " + answer);
model.close();
