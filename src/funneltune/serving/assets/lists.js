// The lists: one column a run, a card an item, a badge for what moved.
import { count, make, percent, price } from "./dom.js";

/** Where an item of one list stands in the other: how many places higher here, or null where it is not there. */
export function moved(list, other) {
  const there = new Map(other.ranked.map((one) => [one.item, one.place]));
  return new Map(list.ranked.map((one) => [one.item, there.has(one.item) ? there.get(one.item) - one.place : null]));
}

/** What a badge says: [class, text, the same in words]. */
export function badge(move, letter) {
  if (move === null) return ["new", "new", `not in the first ${DEEP} of ${letter}`];
  if (move === 0) return ["same", "=", `in the same place as in ${letter}`];
  const places = count(Math.abs(move), "place");
  return move > 0 ? ["up", `↑ ${move}`, `${places} higher than in ${letter}`]
    : ["down", `↓ ${-move}`, `${places} lower than in ${letter}`];
}

const RULES = {
  pinned: ["rule", "pinned", "the shop gave it this place"],
  diversity: ["rule", "diversified", "unlike what stands above it"],
  exposure: ["rule", "fair share", "its group was due this place"],
};

/** What the rules of a ranking did to an item: [class, text, the same in words]; nothing for what follows from others. */
export function marks(why) {
  return why.split("; ").flatMap((part) => {
    const [kind, times] = part.split(" x");
    if (times) return [kind === "boost" ? ["raised", `boosted ×${times}`, `its value counts ${times} times`] : ["lowered", `buried ×${times}`, `its value counts ${times} times`]];
    if (part.startsWith("at most: ")) return [["rule", part, "better ones of their kind are shown often enough"]];
    return RULES[part] ? [RULES[part]] : [];
  });
}

/** Places that are asked for: what "new" is measured by. */
export const DEEP = 100;

function card(one, run, move, most, opened) {
  const rates = run.rates.map((rate) => {
    const fill = make("span", { class: "fill" });
    fill.style.width = `${most[rate] > 0 ? Math.max(1.5, (100 * (one.p[rate] ?? 0)) / most[rate]) : 0}%`;
    return make("div", { class: "rate" },
      make("dt", {}, run.labels[rate]),
      make("dd", {}, percent(one.p[rate]), make("span", { class: "track", "aria-hidden": "true" }, fill)));
  });
  const title = make("button", { type: "button", class: "title", "aria-haspopup": "dialog", lang: "" }, one.title || one.item);
  title.addEventListener("click", () => opened(one, run));
  const told = Object.entries(one.about).filter(([name, value]) => value && name !== "rating").map(([, value]) => value.replaceAll("_", " ")).join(" · ");
  const ruled = marks(one.why);
  const rules = ruled.map(([kind, text, words]) => make("li", { class: `mark ${kind}`, title: words }, text));
  if (rules.length && one.before !== one.place) rules.push(make("li", { class: "quiet" }, `place ${one.before} by value alone`));
  const place = make("span", { class: "place" }, String(one.place));
  const row = make("li", { class: "item", "data-item": one.item }, place,
    make("div", { class: "what" }, title, told ? make("p", { class: "quiet told" }, told) : null,
      rules.length ? make("ul", { class: "marks", "aria-label": "Rules" }, ...rules) : null),
    make("div", { class: "end" },
      one.price === null ? null : make("span", { class: "price" }, make("span", { class: "aloud" }, "price "), price(one.price)),
      move && make("span", { class: `badge ${move[0]}`, title: move[2] },
        make("span", { "aria-hidden": "true" }, move[1]), make("span", { class: "aloud" }, move[2]))),
    make("dl", { class: "rates" }, ...rates));
  return row;
}

/**
 * One run's column.
 * @param list an answer of POST /rank
 * @param run what GET /runs says of it
 * @param other the other list, or null
 * @param most rate -> the highest probability on the page, so that bars of both lists compare
 * @param shown how many
 * @param opened called with (item, run) where the reader wants to know more
 */
export function column(list, run, other, most, shown, opened) {
  const letter = run.run.toUpperCase();
  const moves = other && moved(list, other.list);
  const heading = make("h2", { id: `list-${run.run}` },
    other ? make("span", { class: `letter ${run.run}` }, letter) : null, make("span", { class: "name" }, run.name));
  const kind = [run.tuning, run.head, run.calibration === "none" ? null : `${run.calibration} calibration`];
  const cards = list.ranked.slice(0, shown).map((one) => card(
    one, run, moves && badge(moves.get(one.item), other.run.run.toUpperCase()), most, opened));
  return make("section", { class: "list", "aria-labelledby": `list-${run.run}` },
    make("div", { class: "list-head" }, heading, make("p", { class: "quiet" }, kind.filter(Boolean).join(" · "))),
    cards.length ? make("ol", { class: "items" }, ...cards)
      : make("p", { class: "nothing" }, "No item fits. Loosen the filters, or let all items compete."));
}

/** Grey shapes while the models work. */
export function waiting(runs) {
  return runs.map((run) => make("div", { class: "list", "aria-hidden": "true" },
    make("div", { class: "list-head" }, make("span", { class: "ghost wide-ghost" })),
    make("div", { class: "items" }, ...Array.from({ length: 6 }, () => make("div", { class: "item ghosts" },
      make("span", { class: "ghost" }), make("span", { class: "ghost" }))))));
}

/** Arrows walk through the items of a list, and across to the other. */
export function walkable(lists) {
  lists.addEventListener("keydown", (event) => {
    const here = event.target.closest?.(".item");
    if (!here || event.altKey || event.ctrlKey || event.metaKey) return;
    const mine = [...here.parentElement.children];
    const columns = [...lists.querySelectorAll(".items")];
    const at = mine.indexOf(here);
    const across = columns[columns.indexOf(here.parentElement) + { ArrowLeft: -1, ArrowRight: 1 }[event.key]];
    const next = { ArrowDown: mine[at + 1], ArrowUp: mine[at - 1], Home: mine[0], End: mine.at(-1) }[event.key]
      ?? across?.children[Math.min(at, across.children.length - 1)];
    if (!next) return;
    event.preventDefault();
    next.querySelector(".title").focus();
  });
  const pair = (event, on) => {
    const item = event.target.closest?.(".item")?.dataset.item;
    if (item === undefined) return;
    lists.querySelectorAll(".item").forEach((row) => row.classList.toggle("twin", on && row.dataset.item === item));
  };
  for (const [kind, on] of [["pointerover", true], ["pointerout", false], ["focusin", true], ["focusout", false]]) {
    lists.addEventListener(kind, (event) => pair(event, on));
  }
}
