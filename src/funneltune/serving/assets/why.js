// What the page knows of one item: its places and probabilities in each list, and where they come from.
import { make, percent, price } from "./dom.js";
import { explained } from "./explained.js";
import { ask } from "./server.js";

const part = (id) => document.getElementById(id);
const dialog = part("why");
let stop = null;
part("why-close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("close", () => stop?.abort());

function numbers(one, shown) {
  const sides = shown.runs.map((run, n) => ({ run, found: shown.answers[n].ranked.find((other) => other.item === one.item) }));
  const { labels, rates } = shown.runs[0];
  const head = sides.map(({ run }) => make("th", { scope: "col" }, sides.length > 1
    ? make("span", { class: `letter ${run.run}` }, run.run.toUpperCase()) : null, make("small", {}, run.name.replaceAll(",", ", "))));
  const row = (name, values) => make("tr", {}, make("th", { scope: "row" }, name), ...values.map((value) => make("td", {}, value)));
  const moved = sides.some(({ found }) => found?.why);
  return make("table", {}, make("caption", { class: "aloud" }, "Place and probabilities"),
    make("thead", {}, make("tr", {}, make("td", {}), ...head)),
    make("tbody", {}, row("place", sides.map(({ found }) => (found ? String(found.place) : "not in the list"))),
      ...(moved ? [row("place by value alone", sides.map(({ found }) => (found ? String(found.before) : ""))),
        row("moved by", sides.map(({ found }) => found?.why || ""))] : []),
      ...rates.map((rate) => row(labels[rate], sides.map(({ found }) => (found ? percent(found.p[rate]) : ""))))));
}

/** The explanation and what chooses it: a run, a probability. Nothing where no run can be explained. */
function reasons(one, run, shown) {
  const able = shown.runs.filter((other) => other.explains);
  if (!able.length) return [];
  const of = make("select", { id: "why-of" }, ...able.map((other) => make("option", { value: other.run },
    able.length > 1 ? `${other.run.toUpperCase()} · ${other.name}` : other.name)));
  const rate = make("select", { id: "why-rate" });
  const target = make("div", { class: "reasons", "aria-live": "polite" });
  of.value = able.includes(run) ? run.run : able[0].run;
  const tell = async () => {
    stop?.abort();
    const mine = stop = new AbortController();
    target.setAttribute("aria-busy", "true");
    target.replaceChildren(make("p", { class: "quiet" }, "Asking the run…"), make("span", { class: "ghost" }), make("span", { class: "ghost" }));
    const { query, user } = shown.asked;
    try {
      const told = await ask("explain", { run: of.value, query, user, item: one.item, rate: rate.value }, mine.signal);
      target.replaceChildren(...explained(told, shown.runs[0].labels));
    } catch (fault) {
      if (fault.name === "AbortError") return;
      target.replaceChildren(make("p", { class: "problem" }, fault.message));
    }
    target.removeAttribute("aria-busy");
  };
  const rates = () => {
    const chosen = able.find((other) => other.run === of.value);
    const kept = rate.value || shown.answers[0].by;
    rate.replaceChildren(...chosen.rates.map((name) => make("option", { value: name }, chosen.labels[name])));
    rate.value = chosen.rates.includes(kept) ? kept : chosen.rates.at(-1);
    tell();
  };
  of.addEventListener("change", rates);
  rate.addEventListener("change", tell);
  rates();
  const choice = make("div", { class: "fields" },
    make("div", { class: "field" }, make("label", { for: "why-of" }, "Run"), of),
    make("div", { class: "field" }, make("label", { for: "why-rate" }, "Probability"), rate));
  return [make("h3", {}, "Why"), choice, target];
}

/** Open the dialog for one item of one run's list. */
export function why(one, run, shown) {
  part("why-h").textContent = one.title || one.item;
  part("why-run").textContent = `item ${one.item}`;
  const facts = [...Object.entries(one.about).filter(([, value]) => value), ...(one.price === null ? [] : [["price", price(one.price)]])];
  part("why-body").replaceChildren(
    make("dl", { class: "facts" }, ...facts.map(([name, value]) => make("div", {}, make("dt", {}, name.replaceAll("_", " ")), make("dd", {}, value)))),
    make("div", { class: "wide", role: "region", tabindex: "0", "aria-label": "Table: place and probabilities" }, numbers(one, shown)),
    ...reasons(one, run, shown));
  dialog.showModal();
  part("why-h").focus();
}
