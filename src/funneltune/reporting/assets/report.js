"use strict";
(() => {
  const root = document.documentElement;
  document.querySelectorAll(".js").forEach((part) => { part.hidden = false; });

  // light or dark: the reader's system decides until the button does
  const scheme = document.getElementById("scheme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.scheme ? root.dataset.scheme === "dark" : system.matches);
  const label = () => { scheme.textContent = dark() ? "Light scheme" : "Dark scheme"; };
  scheme.addEventListener("click", () => { root.dataset.scheme = dark() ? "light" : "dark"; label(); });
  system.addEventListener("change", label);
  label();

  // sort: a number where a field has one, a word where it has not; fields without either stay last
  const number = (text) => {
    const found = text.replaceAll(",", "").match(/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?/i);
    return found ? Number(found[0]) : null;
  };
  const value = (field) => {
    const text = field.dataset.sort ?? field.textContent.trim();
    return text === "" || text === "-" ? null : number(text) ?? text.toLowerCase();
  };
  const compare = (one, other) => {
    if (typeof one === "number" && typeof other === "number") return one - other;
    return String(one).localeCompare(String(other));
  };
  document.querySelectorAll("table.sortable").forEach((table) => {
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, place) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "descending" || (place === 0 && !head.hasAttribute("aria-sort"));
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "ascending" : "descending");
        const rows = [...body.rows].map((row) => [value(row.cells[place]), row]);
        const known = rows.filter(([key]) => key !== null);
        known.sort((a, b) => (down ? 1 : -1) * compare(a[0], b[0]));
        body.append(...known.map(([, row]) => row), ...rows.filter(([key]) => key === null).map(([, row]) => row));
      });
    });
  });

  // filter by name, by verdict, by group of columns
  const main = document.getElementById("main-table");
  const filter = document.getElementById("filter");
  const verdict = document.getElementById("verdict");
  const count = document.getElementById("count");
  const choose = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    [...main.tBodies[0].rows].forEach((row) => {
      const name = row.cells[0].textContent.toLowerCase();
      const wanted = words.every((word) => name.includes(word)) && (!verdict?.value || row.dataset.verdict === verdict.value);
      row.hidden = !wanted;
      shown += wanted;
    });
    count.textContent = `${shown} of ${main.tBodies[0].rows.length} rows`;
  };
  if (main) {
    filter.addEventListener("input", choose);
    verdict?.addEventListener("change", choose);
    choose();
  }
  document.querySelectorAll("input.group").forEach((box) => box.addEventListener("change", () => {
    main?.querySelectorAll(`[data-group="${box.value}"]`).forEach((field) => { field.hidden = !box.checked; });
  }));

  // on paper everything is open
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")].filter((part) => !part.closest("figure"));
    opened.forEach((part) => { part.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((part) => { part.open = false; }));
})();
