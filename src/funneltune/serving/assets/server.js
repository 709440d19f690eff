// What the page asks its own server: JSON in, JSON out, a token where one is needed.
const KEPT = "funneltune-token";
const door = document.getElementById("door");
const said = document.getElementById("door-said");
const field = document.getElementById("token");
let opening = null;

/** Ask for the token, once for all requests that wait for it. */
function tokenFromReader(wrong) {
  opening ??= new Promise((resolve) => {
    said.hidden = !wrong;
    said.textContent = "That is not this server's token.";
    door.showModal();
    field.focus();
    document.getElementById("door-form").onsubmit = (event) => {
      event.preventDefault();
      if (!field.value.trim()) return;
      sessionStorage.setItem(KEPT, field.value.trim());
      field.value = "";
      door.close();
      opening = null;
      resolve();
    };
  });
  return opening;
}
door.addEventListener("cancel", (event) => event.preventDefault());

/** The answer to GET path, or to POST path where there is a body. Throws what the server says, in one line. */
export async function ask(path, body, signal) {
  for (;;) {
    const token = sessionStorage.getItem(KEPT);
    const headers = {};
    if (token) headers.authorization = `Bearer ${token}`;
    if (body) headers["content-type"] = "application/json";
    let answer;
    try {
      answer = await fetch(path, { method: body ? "POST" : "GET", headers, signal, body: body && JSON.stringify(body) });
    } catch (fault) {
      if (fault.name === "AbortError") throw fault;
      throw new Error("The server does not answer. Is it still running?");
    }
    if (answer.status === 401) {
      await tokenFromReader(token !== null && token === sessionStorage.getItem(KEPT));
      continue;
    }
    const told = await answer.json().catch(() => ({ error: `The server said ${answer.status}.` }));
    if (!answer.ok) throw new Error(told.error ?? `The server said ${answer.status}.`);
    return told;
  }
}
