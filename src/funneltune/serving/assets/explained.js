// An explanation as elements: a sentence, words that push, evidence, what if.
import { count, make, percent } from "./dom.js";

const TOP = 8;
const signed = (value, digits = 2) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`;
const plain = (value) => value.toFixed(2).replace("-", "−");
const toward = (push) => (push > 0 ? "raises" : push < 0 ? "lowers" : "");

/** A text with its words tinted by what they add: the stronger, the deeper; a sign under each that counts. */
function tinted(words, most) {
  const parts = words.map((word) => {
    const share = most > 0 ? Math.abs(word.push) / most : 0;
    const mark = make("span", { class: `word ${word.read ? toward(word.push) : "unread"}`,
      title: word.read ? `${signed(word.push)}` : "behind the longest text that the run reads" }, word.text);
    mark.style.setProperty("--share", `${Math.round(100 * share)}%`);
    return mark;
  });
  return make("p", { class: "words-told", lang: "" }, ...parts.flatMap((part, n) => (n ? [" ", part] : [part])));
}

function region(label, table) {
  return make("div", { class: "wide", role: "region", tabindex: "0", "aria-label": `Table: ${label}` }, table);
}

function grid(label, head, rows) {
  return region(label, make("table", {}, make("caption", { class: "aloud" }, label),
    make("thead", {}, make("tr", {}, ...head.map((text) => make("th", { scope: "col" }, text)))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((value, n) =>
      make(n ? "td" : "th", n ? {} : { scope: "row" }, value)))))));
}

/** Bars to either side of nothing. */
function pushes(told, most) {
  const every = [...told.words.filter((word) => word.read).map((word) => ({ name: `“${word.text}”`, where: word.role === "query" ? "query" : "title", push: word.push })),
    ...told.features.map((one) => ({ name: one.value ? `${one.name} ${one.value}` : one.name, where: one.kind, push: one.push }))]
    .filter((one) => Math.abs(one.push) >= 0.005).sort((x, y) => Math.abs(y.push) - Math.abs(x.push)).slice(0, TOP);
  return make("ul", { class: "pushes" }, ...every.map((one) => {
    const fill = make("span", { class: `push ${toward(one.push)}` });
    fill.style.width = `${most > 0 ? (50 * Math.abs(one.push)) / most : 0}%`;
    return make("li", {}, make("span", { class: "push-name" }, one.name, make("span", { class: "quiet" }, ` ${one.where}`)),
      make("span", { class: "push-track", "aria-hidden": "true" }, fill), make("span", { class: "push-value" }, signed(one.push)));
  }));
}

function evidence(found, labels) {
  const rows = Object.entries(found.near).map(([rate, [n, of]]) => {
    const [times, all] = found.everywhere[rate] ?? [0, 0];
    return [labels[rate] ?? rate, of ? `${n} of ${of}` : "none", of ? percent(n / of) : "", all ? percent(times / all) : ""];
  });
  const nearest = found.nearest.map((one) => {
    const done = Object.entries(one.happened).filter(([, yes]) => yes).map(([task]) => task);
    return [one.title, one.query, one.similarity.toFixed(2), done.join(", ") || "nothing"];
  });
  return [make("h4", {}, "What happened where training saw something like it"),
    grid("Shares near and everywhere", ["probability", "on the nearest", "share", "everywhere"], rows),
    make("details", {}, make("summary", {}, `${count(nearest.length, "nearest impression")}`),
      grid("Nearest training impressions", ["item", "query", "alike", "happened"], nearest),
      make("p", { class: "quiet" }, `Alike: ${found.measure}.`))];
}

const fromTo = ({ what, before, after }) =>
  (what.endsWith(" without a word") ? `“${before}” left out` : [before, after].filter(Boolean).join(" → "));

function changes(list) {
  const rows = list.slice().sort((x, y) => Math.abs(y.difference) - Math.abs(x.difference)).slice(0, TOP)
    .map((one) => [one.what.replace(" without a word", ""), fromTo(one), percent(one.p), `${signed(100 * one.difference, 3)}`]);
  return [make("h4", {}, "What if one thing were otherwise"),
    grid("What if", ["changed", "from what to what", "then", "points"], rows)];
}

/** What `POST /explain` told, for people. */
export function explained(told, labels) {
  const most = Math.max(0, ...told.words.map((word) => Math.abs(word.push)), ...told.features.map((one) => Math.abs(one.push)));
  const of = (role) => told.words.filter((word) => word.role === role);
  const texts = [["Query", of("query")], ["Title", of("item")]].filter(([, words]) => words.length)
    .map(([name, words]) => make("div", {}, make("h4", {}, name), tinted(words, most)));
  const path = told.completeness;
  return [make("p", { class: "sentence" }, told.sentence), ...texts,
    make("h4", {}, "What pushes it, and how far"), pushes(told, most),
    make("p", { class: "quiet" }, `On the ${path.scale} scale, from ${plain(path.baseline)} (${path.absent.join(", ") || "nothing there"}) to ${plain(path.value)}: `
      + `the pushes add up to it within ${Math.abs(path.gap).toExponential(1)} (${path.steps} steps${path.complete ? "" : "; more would be needed"}).`),
    ...(told.changes.length ? changes(told.changes) : []), ...evidence(told.evidence, labels)];
}
