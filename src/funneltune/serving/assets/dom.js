// Elements and numbers in words.

/** An element with attributes (`class`, `aria-label`, ...; null: none) and children (texts are never markup). */
export function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** The same in SVG. */
export function draw(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** A number with so many digits that count. */
export function digits(value, n) {
  return value.toLocaleString("en", { minimumSignificantDigits: n, maximumSignificantDigits: n });
}

/** A probability in percent, two digits that count. */
export function percent(p) {
  if (p === null) return "unknown";
  const value = 100 * p;
  if (value > 0 && value < 0.001) return "<0.001%";
  return `${digits(value, value >= 10 ? 3 : 2)}%`;
}

/** A price with its cents. */
export function price(value) {
  return value === null ? "" : value.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
}

export const count = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
