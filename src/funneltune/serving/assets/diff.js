// Both lists as one picture of what moved, and as one table.
import { badge, moved } from "./lists.js";
import { count, digits, draw, make, percent } from "./dom.js";

const ROW = 30;
const PLACES = 10;

const short = (text, letters) => (text.length > letters ? `${text.slice(0, Math.max(1, letters - 1)).trimEnd()}…` : text);

/** The first places of both lists, joined where they hold the same item. */
function slope(box, a, b) {
  const width = Math.max(280, box.clientWidth);
  const words = Math.max(90, Math.min(420, Math.round(width * 0.38)));
  const letters = Math.floor((words - 26) / 7.2);
  const left = a.ranked.slice(0, PLACES);
  const right = b.ranked.slice(0, PLACES);
  const height = ROW * Math.max(left.length, right.length);
  const placeIn = (list) => new Map(list.map((one) => [one.item, one.place]));
  const [inA, inB] = [placeIn(a.ranked), placeIn(b.ranked)];
  const y = (place) => Math.min(place - 0.5, PLACES + 0.8) * ROW; // what stands further down leaves the picture
  const kind = (item) => {
    if (!inA.has(item) || !inB.has(item)) return "new";
    const move = inA.get(item) - inB.get(item);
    return move > 0 ? "up" : move < 0 ? "down" : "same";
  };
  const lines = [...new Set([...left, ...right].map((one) => one.item))]
    .filter((item) => inA.has(item) && inB.has(item))
    .map((item) => {
      const [from, to] = [y(inA.get(item)), y(inB.get(item))];
      const [x, end, middle] = [words + 6, width - words - 6, width / 2];
      return draw("path", { class: `line ${kind(item)}${Math.max(inA.get(item), inB.get(item)) > PLACES ? " far" : ""}`, d: `M${x} ${from}C${middle} ${from} ${middle} ${to} ${end} ${to}` });
    });
  const text = (one, side) => {
    const label = `${one.place}  ${short(one.title || one.item, letters)}`;
    const at = side === "a" ? { x: words, "text-anchor": "end" } : { x: width - words };
    const told = side === "a" ? `${short(one.title || one.item, letters)}  ${one.place}` : label;
    return draw("text", { class: kind(one.item), y: y(one.place) + 5, ...at }, told);
  };
  const picture = draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img" },
    draw("title", {}, "The first places of both lists; lines join the same item. The table below has the same in numbers."),
    ...lines, ...left.map((one) => text(one, "a")), ...right.map((one) => text(one, "b")));
  box.replaceChildren(picture);
}

function table(target, a, b, runs, shown) {
  const rows = new Map();
  for (const [side, list] of [["a", a], ["b", b]]) {
    list.ranked.forEach((one) => rows.set(one.item, { ...rows.get(one.item), [side]: one, title: one.title || one.item }));
  }
  const first = ({ a: one, b: other }) => Math.min(one?.place ?? Infinity, other?.place ?? Infinity);
  const moves = moved(b, a);
  const chosen = [...rows.entries()].filter(([, row]) => first(row) <= shown).sort((x, y) => first(x[1]) - first(y[1]));
  const rates = runs[0].rates;
  const change = (row, rate) => {
    if (!row.a || !row.b || row.a.p[rate] === null || row.b.p[rate] === null) return "";
    const points = 100 * (row.b.p[rate] - row.a.p[rate]);
    return `${points < 0 ? "−" : "+"}${digits(Math.abs(points), 2)}`;
  };
  const head = make("tr", {}, make("th", { scope: "col" }, "item"), make("th", { scope: "col" }, "A"),
    make("th", { scope: "col" }, "B"), make("th", { scope: "col" }, "from A to B"),
    ...rates.flatMap((rate) => [make("th", { scope: "col" }, runs[0].labels[rate], make("small", {}, "in A")),
      make("th", { scope: "col" }, "B − A", make("small", {}, "points"))]));
  target.replaceChildren(
    make("caption", { class: "aloud" }, "Places and probabilities of each item in both lists"),
    make("thead", {}, head),
    make("tbody", {}, ...chosen.map(([item, row]) => {
      const [kind, told, words] = row.b ? badge(moves.get(item), "A") : ["gone", "gone", "not in the first places of B"];
      return make("tr", {}, make("th", { scope: "row" }, row.title), make("td", {}, row.a ? String(row.a.place) : "-"),
        make("td", {}, row.b ? String(row.b.place) : "-"),
        make("td", {}, make("span", { class: `badge ${kind}`, title: words }, told)),
        ...rates.flatMap((rate) => [make("td", {}, row.a ? percent(row.a.p[rate]) : ""), make("td", {}, change(row, rate))]));
    })));
}

/** How alike the first places are, in words. */
export function likeness(a, b, places = PLACES) {
  const [first, second] = [a, b].map((list) => list.ranked.slice(0, places).map((one) => one.item));
  const n = Math.max(first.length, second.length);
  const shared = first.filter((item) => second.includes(item)).length;
  const same = first.filter((item, place) => second[place] === item).length;
  if (!n) return "Both lists are empty.";
  return `Of the first ${n}, ${count(shared, "item is", "items are")} in both lists, ${same} in the same place.`;
}

/** The whole view. */
export function difference(a, b, runs, shown) {
  const sides = runs.map((run) => [make("span", { class: `letter ${run.run}` }, run.run.toUpperCase()), ` ${run.name} `]).flat();
  document.getElementById("diff-said").replaceChildren(...sides, "Green rose from A to B, red fell.");
  slope(document.getElementById("slope"), a, b);
  table(document.getElementById("diff-table"), a, b, runs, shown);
}
