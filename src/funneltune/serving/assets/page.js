// The page: what is asked, of which runs, and what is shown of the answers.
import { combo } from "./combo.js";
import { count, make } from "./dom.js";
import { difference, likeness } from "./diff.js";
import { DEEP, column, waiting, walkable } from "./lists.js";
import { ask } from "./server.js";
import { why } from "./why.js";

const part = (id) => document.getElementById(id);
const [query, user, by, candidates] = ["query", "user", "by", "candidates"].map(part);
const [lists, said, problem] = ["lists", "said", "problem"].map(part);
const STEP = 10;
const NAMED = "ranking:";
const state = { runs: [], answers: null, asked: null, shown: STEP, view: "lists", stop: null };

// --- light or dark: the reader's system decides until the button does
const root = document.documentElement;
const system = matchMedia("(prefers-color-scheme: dark)");
const dark = () => (root.dataset.scheme ? root.dataset.scheme === "dark" : system.matches);
const label = () => { part("scheme").textContent = dark() ? "Light scheme" : "Dark scheme"; };
part("scheme").addEventListener("click", () => { root.dataset.scheme = dark() ? "light" : "dark"; label(); });
system.addEventListener("change", label);
label();

// --- what is asked
function wanted() {
  const named = by.value.startsWith(NAMED);
  const body = {
    query: query.value.trim(),
    user: user.value.trim(),
    ranking: named ? by.value.slice(NAMED.length) : "",
    by: named ? "" : by.value,
    candidates: candidates.value || null,
    top: DEEP,
  };
  const price = ["price-from", "price-to"].map((id) => (part(id).value === "" ? null : Number(part(id).value)));
  return price.every((bound) => bound === null) ? body : { ...body, rules: { price } };
}

const runsOf = (body) => state.runs.map((run) => ({
  ...body,
  run: run.run,
  candidates: run.candidates.includes(body.candidates) ? body.candidates : null,
}));

/** The address keeps what is asked behind `#`, which a browser does not send. */
function remember(body) {
  const kept = new URLSearchParams();
  for (const [key, value] of Object.entries({ query: body.query, user: body.user, by: by.value, candidates: candidates.value })) {
    if (value) kept.set(key, value);
  }
  history.replaceState(null, "", `#${kept}`);
}

async function rank() {
  const body = wanted();
  if (!body.query && state.runs.every((run) => run.reads_query)) {
    show("empty");
    said.textContent = "";
    query.focus();
    return;
  }
  state.stop?.abort();
  const stop = state.stop = new AbortController();
  remember(body);
  const slow = setTimeout(() => { show("waiting"); said.textContent = "Ranking…"; }, 150);
  part("results").setAttribute("aria-busy", "true");
  const begun = performance.now();
  try {
    const found = await Promise.all(runsOf(body).map((one) => ask("rank", one, stop.signal)));
    Object.assign(state, { answers: found, asked: body, shown: STEP });
    clearTimeout(slow);
    show("answers");
    tell(found, performance.now() - begun);
  } catch (fault) {
    if (fault.name === "AbortError") return;
    problem.textContent = fault.message;
    show("problem");
    said.textContent = "";
  } finally {
    clearTimeout(slow);
    if (state.stop === stop) part("results").removeAttribute("aria-busy");
  }
}

function tell(found, milliseconds) {
  const competed = count(Math.max(...found.map((one) => one.competed)), "candidate");
  const alike = found.length > 1 ? ` ${likeness(...found)}` : "";
  const dropped = found.map((one) => one.dropped).find((told) => told !== "nothing is dropped");
  said.textContent = `${competed} in ${milliseconds.toFixed(0)} ms${dropped ? `; ${dropped}` : ""}.${alike}`;
}

// --- what is shown: "empty", "waiting", "problem" or "answers"
function show(what) {
  const both = what === "answers" && state.answers.length > 1;
  const diff = both && state.view === "diff";
  part("empty").hidden = what !== "empty";
  problem.hidden = what !== "problem";
  lists.hidden = !(what === "waiting" || (what === "answers" && !diff));
  part("diff").hidden = !diff;
  part("views").hidden = !both;
  lists.classList.toggle("two", state.runs.length > 1);
  if (what === "waiting") lists.replaceChildren(...waiting(state.runs));
  if (what === "answers" && !diff) fill();
  if (diff) difference(...state.answers, state.runs, state.shown * 2);
}

function fill() {
  const most = {};
  for (const list of state.answers) {
    for (const one of list.ranked.slice(0, state.shown)) {
      for (const [rate, p] of Object.entries(one.p)) most[rate] = Math.max(most[rate] ?? 0, p ?? 0);
    }
  }
  const sides = state.answers.map((list, n) => ({ list, run: state.runs[n] }));
  const columns = sides.map(({ list, run }, n) => column(list, run, sides[1 - n] ?? null, most, state.shown, open));
  const left = Math.max(...state.answers.map((list) => list.ranked.length)) - state.shown;
  const more = make("button", { type: "button", class: "show-more" }, `Show ${Math.min(left, STEP)} more`);
  more.addEventListener("click", () => {
    const next = state.shown;
    state.shown += STEP;
    fill();
    lists.querySelector(".items")?.children[next]?.querySelector(".title").focus();
  });
  lists.replaceChildren(...columns, ...(left > 0 ? [more] : []));
}

function open(one, run) {
  why(one, run, { runs: state.runs, answers: state.answers, asked: state.asked });
}

// --- views: both lists side by side, or, where the window is narrow, one at a time; or what moved
const VIEWS = ["lists", "a", "b", "diff"];
const narrow = matchMedia("(max-width: 46rem)");
function view(chosen) {
  state.view = chosen;
  const pressed = { lists: narrow.matches ? "a" : "lists", a: narrow.matches ? "a" : "lists", b: narrow.matches ? "b" : "lists" }[chosen] ?? chosen;
  for (const other of VIEWS) part(`view-${other}`).setAttribute("aria-pressed", String(other === pressed));
  lists.dataset.only = chosen === "b" ? "b" : "a";
}
for (const one of VIEWS) part(`view-${one}`).addEventListener("click", () => { view(one); show("answers"); });
narrow.addEventListener("change", () => view(state.view));
view("lists");
let resized = 0;
addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(() => { if (!part("diff").hidden) show("answers"); }, 120);
});

// --- the form
part("ask").addEventListener("submit", (event) => { event.preventDefault(); boxes.forEach((box) => box.close()); rank(); });
for (const field of [by, candidates]) field.addEventListener("change", () => { if (state.answers) rank(); });
const suggest = (kind) => async (typed) =>
  (await ask(`suggest?${kind}=${encodeURIComponent(typed)}`))[kind === "query" ? "queries" : "users"];
const boxes = [
  combo(query, part("query-list"), suggest("query"), rank),
  combo(user, part("user-list"), suggest("user"), () => { if (query.value.trim() || state.answers) rank(); }),
];
addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, select, textarea, dialog");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    query.focus();
    query.select();
  }
});
walkable(lists);

// --- begin
const option = (value, told = value) => make("option", { value }, told);
const ofAll = (kind) => state.runs[0][kind].filter((name) => state.runs.every((run) => run[kind].includes(name)));

function choices() {
  const joint = state.runs[0].rates.at(-1);
  const [numbers, named] = [ofAll("by"), ofAll("rankings")];
  const one = make("optgroup", { label: "By one number" }, ...numbers.map((name) =>
    option(name, name === "revenue" ? `price × ${joint}` : name)));
  by.replaceChildren(one, ...(named.length ? [make("optgroup", { label: "Named rankings" }, ...named.map((name) =>
    option(`${NAMED}${name}`, name.replaceAll("_", " "))))] : []));
  candidates.replaceChildren(option("", "as usual"), ...state.runs[0].candidates.map((name) => option(name)));
}

function about(run) {
  const shown = ["auc", "log_loss", "ndcg@10"].flatMap((metric) =>
    run.rates.map((rate) => [`${rate} ${metric.replace("_", " ")}`, run.metrics[`${rate}/${metric}`]]));
  const facts = [["tuning", run.tuning], ["backbone", run.backbone], ["head", run.head], ["calibration", run.calibration],
    ["items", run.items.toLocaleString("en")], ["finished", run.finished?.slice(0, 10)],
    ...shown.filter(([, value]) => typeof value === "number").map(([name, value]) => [name, value.toFixed(4)])];
  return make("section", {}, make("h3", {}, state.runs.length > 1
    ? make("span", { class: `letter ${run.run}` }, run.run.toUpperCase()) : null, run.name),
  make("dl", {}, ...facts.filter(([, value]) => value).map(([name, value]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, value)))));
}

async function begin() {
  state.runs = (await ask("runs")).runs;
  const [first] = state.runs;
  const names = state.runs.map((run) => run.name.replaceAll(",", ", ")).join(" and ");
  part("title").textContent = names;
  document.title = `${names} · funneltune serve`;
  choices();
  part("runs").replaceChildren(...state.runs.map(about));
  const kept = new URLSearchParams(location.hash.slice(1));
  query.value = kept.get("query") ?? "";
  user.value = kept.get("user") ?? "";
  by.value = kept.get("by") ?? "";
  if (!by.value) by.value = first.rates.at(-1);
  if (first.candidates.includes(kept.get("candidates"))) candidates.value = kept.get("candidates");
  if (!state.runs.some((run) => run.reads_query)) {
    part("empty-text").textContent = "These runs read no words: pick a shopper, or rank for anyone.";
  }
  const { queries } = await ask("suggest?most=8");
  part("starters").replaceChildren(...queries.map((one) => {
    const button = make("button", { type: "button" }, one.key);
    button.addEventListener("click", () => { query.value = one.key; rank(); });
    return make("li", {}, button);
  }));
  if (query.value || user.value) rank();
}
begin().catch((fault) => { problem.textContent = fault.message; show("problem"); });
