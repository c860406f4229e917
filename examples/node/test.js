// Tests of the addon:  test.js MODEL.qrn   (QUERN_ADDON as in search.js)
const assert = require("assert");
const path = require("path");
const quern = require(process.env.QUERN_ADDON || path.join(__dirname, "quern.node"));

const model = quern.open(process.argv[2]);
const texts = ["a cat on a mat", "", "naïve café 東京", "x".repeat(3000)];
const all = model.embed(texts);
assert.strictEqual(all.length, texts.length * model.width);
texts.forEach((text, i) => {
  assert.deepStrictEqual(model.embed([text]), all.slice(i * model.width, (i + 1) * model.width));
});
assert.strictEqual(model.embed([]).length, 0);
assert.throws(() => model.embed("not an array"), TypeError);
assert.throws(() => model.embed([1]), TypeError);
assert.throws(() => quern.open(), TypeError);
assert.throws(() => quern.open("/nonexistent/x.qrn"), /nonexistent\/x\.qrn/);
model.close();
model.close();
assert.throws(() => model.embed(["closed"]), /closed/);
console.log("ok");
