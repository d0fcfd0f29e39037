// Download the model once, and let it answer in the visitor's browser. Texts are data: they only ever become
// textContent.

const SHOWN_LABELS = 10;
const form = document.querySelector("form");
const [button, text, status, answer] = ["form > button", "#text", "#status", "#answer"].map((name) => form.querySelector(name));
const progress = form.querySelector("progress");
const frame = document.querySelector("iframe");
let space, model;

/** Tell the visitor how it goes. */
function say(words, wrong = false) {
  status.textContent = words;
  status.classList.toggle("wrong", wrong);
}

/** Tell it before work that blocks the page, and wait until the words are painted. */
async function saying(words) {
  say(words);
  await new Promise((painted) => requestAnimationFrame(() => setTimeout(painted)));
}

/** Say what went wrong in plain words. */
function inWords(error) {
  const reason = String(error?.message ?? error);
  if (error instanceof RangeError || /memory|alloc|abort/i.test(reason))
    return "The model does not fit into the memory of this browser. Try it on a computer, or with other tabs closed.";
  if (error instanceof TypeError && /fetch|load|import|network/i.test(reason))
    return "The download failed. Check the connection, and try again.";
  return `The model could not be loaded: ${reason}`;
}

/** Return the browser's store of earlier downloads; undefined if there is none, as in some private windows. */
async function store() {
  try {
    return await caches.open("hf_sentiment_ft");
  } catch {
    return undefined;
  }
}

/** Return the address under which one version of a file is kept. */
function versioned(name) {
  return new URL(`${name}?sha256=${space.files[name].sha256}`, location).href;
}

/** Return the bytes of a file of this Space, from an earlier download if there is one, and check them. */
async function download(name, kept, received) {
  const { size, sha256 } = space.files[name];
  const earlier = await kept?.match(versioned(name));
  const response = earlier ?? (await fetch(name, { cache: "no-cache" }));
  if (!response.ok) throw new Error(`${name} is missing (HTTP ${response.status}).`);
  const bytes = new Uint8Array(size);
  let end = 0;
  for (let reader = response.body.getReader(), part; !(part = await reader.read()).done; end += part.value.length) {
    if (end + part.value.length > size) break;
    bytes.set(part.value, end);
    received(part.value.length);
  }
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  if ([...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("") !== sha256) {
    await kept?.delete(versioned(name));
    throw new Error(`${name} has arrived incomplete, or was replaced just now. Reload the page.`);
  }
  // Without room to keep it, the next visit downloads it again.
  if (!earlier) await kept?.put(versioned(name), new Response(bytes)).catch(() => {});
  return bytes;
}

/** Return the token ids of a text in its prompt, truncated as the trained tokenizer does. */
export function encode(tokenizer, prompt, words) {
  const { beginning_ids, ending_ids, max_length, truncation_side } = prompt;
  let ids = tokenizer.encode(words, { add_special_tokens: false }).ids;
  const room = Math.max(0, max_length - beginning_ids.length - ending_ids.length);
  if (ids.length > room) ids = truncation_side === "left" ? ids.slice(ids.length - room) : ids.slice(0, room);
  return [...beginning_ids, ...ids, ...ending_ids];
}

/** Download and start everything that an answer needs. */
async function load() {
  const names = Object.keys(space.files);
  const total = names.reduce((sum, name) => sum + space.files[name].size, space.runtime.size);
  let done = 0;
  const received = (count) => {
    done += count;
    progress.value = done / total;
    say(`Loading: ${Math.round(done / 1e6)} of ${Math.round(total / 1e6)} MB`);
  };
  progress.hidden = false;
  received(0);
  const [{ Tokenizer }, ort] = await Promise.all([import("tokenizers"), import("onnxruntime")]);
  const kept = await store();
  const files = {};
  for (const name of names) files[name.split("/").at(-1)] = await download(name, kept, received);
  const current = names.map(versioned);
  for (const { url } of (await kept?.keys()) ?? []) if (!current.includes(url)) await kept.delete(url);

  const tokenizer = new Tokenizer(JSON.parse(new TextDecoder().decode(files["tokenizer.json"])), {});
  for (const { text: words, ids } of space.checks)
    if (encode(tokenizer, space.prompt, words).join() !== ids.join())
      throw new Error(`this browser's tokenizer reads ${JSON.stringify(words)} otherwise than the trained model does.`);

  ort.env.wasm.numThreads = 1; // more need a cross-origin isolated page, which an embedded Space is not
  ort.env.wasm.wasmBinary = await (await fetch(space.runtime.url, { integrity: space.runtime.integrity })).arrayBuffer();
  received(space.runtime.size);
  await saying("Starting the model …");
  const session = await ort.InferenceSession.create(files["model.onnx"], {
    externalData: [{ path: "model.onnx.data", data: files["model.onnx.data"] }],
  });
  model = async (words) => {
    const ids = encode(tokenizer, space.prompt, words);
    const row = (values) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, ids.length]);
    const { logits } = await session.run({ input_ids: row(ids), attention_mask: row(ids.map(() => 1)) });
    const powers = Array.from(logits.data, (value) => Math.exp(value - Math.max(...logits.data)));
    const sum = powers.reduce((one, other) => one + other);
    return powers.map((power) => power / sum);
  };
}

/** Show the most probable labels as bars. */
function show(probabilities) {
  const order = probabilities.map((_, label) => label).sort((one, other) => probabilities[other] - probabilities[one]);
  answer.replaceChildren(
    ...order.slice(0, SHOWN_LABELS).map((label) => {
      const [item, bar] = ["li", "i"].map((name) => document.createElement(name));
      const [name, figure] = [space.labels[label], `${(100 * probabilities[label]).toFixed(1)} %`].map((words) =>
        Object.assign(document.createElement("span"), { textContent: words, dir: "auto" }),
      );
      const track = document.createElement("span");
      bar.style.width = `${100 * probabilities[label]}%`;
      track.append(bar);
      item.append(name, track, figure);
      return item;
    }),
  );
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (button.disabled) return;
  button.disabled = true;
  try {
    if (!model) await load();
    button.textContent = "Classify";
    progress.hidden = true;
    if (text.value.trim()) {
      await saying("Reading the text …");
      show(await model(text.value));
      say("");
    } else {
      say("The model is ready. Write a text, then press Classify.");
      text.focus();
    }
  } catch (error) {
    console.error(error);
    progress.hidden = true;
    say(inWords(error) + (frame ? " The report below needs no model." : ""), true);
  }
  button.disabled = false;
});

/** Give the report's frame the height of the report. */
function fit() {
  const page = frame?.contentDocument?.documentElement;
  if (page) frame.style.height = `${page.scrollHeight}px`;
}
frame?.addEventListener("load", fit);
addEventListener("resize", fit);
fit();

try {
  if (!globalThis.WebAssembly) throw new Error("this browser has no WebAssembly, or it is switched off.");
  space = await (await fetch("space.json", { cache: "no-cache" })).json();
  const examples = space.examples.map((words) => {
    const example = Object.assign(document.createElement("button"), { type: "button", textContent: words, dir: "auto" });
    example.addEventListener("click", () => {
      text.value = words;
      if (model) form.requestSubmit(); // clicking on a text must not begin a large download
    });
    return example;
  });
  if (examples.length) document.querySelector("#examples").replaceChildren("Texts to try:", ...examples);
  button.disabled = false;
} catch (error) {
  say(inWords(error), true);
}
