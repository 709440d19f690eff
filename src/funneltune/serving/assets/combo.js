// A text field with a list to pick from: the ARIA combobox, by keyboard and by pointer.
import { make } from "./dom.js";

/**
 * @param input the field
 * @param list its listbox
 * @param find (typed) => Promise of [{key, about, requests}]
 * @param picked called after a choice
 */
export function combo(input, list, find, picked) {
  let options = [];
  let active = -1;
  let turn = 0;
  let timer = 0;

  const close = () => {
    clearTimeout(timer);
    turn += 1;
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const mark = (place) => {
    active = place;
    [...list.children].forEach((row, n) => row.setAttribute("aria-selected", String(n === place)));
    if (place < 0) { input.removeAttribute("aria-activedescendant"); return; }
    input.setAttribute("aria-activedescendant", list.children[place].id);
    list.children[place].scrollIntoView({ block: "nearest" });
  };
  const pick = (place) => {
    input.value = options[place].key;
    close();
    picked();
  };
  const open = async (first = -1) => {
    const mine = ++turn;
    let found;
    try { found = await find(input.value.trim()); } catch { return; }
    if (mine !== turn || document.activeElement !== input) return;
    options = found;
    list.replaceChildren(...options.map((option, n) => {
      const about = Object.values(option.about).filter(Boolean).join(" · ");
      const row = make("li", { role: "option", id: `${list.id}-${n}`, "aria-selected": "false" },
        make("span", { class: "key" }, option.key),
        make("span", { class: "quiet" }, [about, `${option.requests}×`].filter(Boolean).join(" · ")));
      row.addEventListener("pointerdown", (event) => { event.preventDefault(); pick(n); });
      return row;
    }));
    list.hidden = options.length === 0;
    input.setAttribute("aria-expanded", String(!list.hidden));
    mark(options.length ? first : -1);
  };

  input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(open, 120); });
  input.addEventListener("click", () => { if (list.hidden) open(); });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const down = event.key === "ArrowDown";
      if (list.hidden) { open(down ? 0 : -1); return; }
      const rows = options.length + 1; // one more: the field itself
      mark(((active + 1 + (down ? 1 : rows - 1)) % rows) - 1);
    } else if (event.key === "Enter" && !list.hidden && active >= 0) {
      event.preventDefault();
      pick(active);
    } else if (event.key === "Escape" && !list.hidden) {
      event.preventDefault();
      event.stopPropagation();
      close();
    } else if (event.key === "Escape" && input.value) {
      input.value = "";
      close();
    }
  });
  return { close };
}
