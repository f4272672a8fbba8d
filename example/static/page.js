// What all pages have in common: their elements, and a connection that comes back.

const FIRST = 500, LONGEST = 15_000, STEADY = 5_000;  // milliseconds

/** Return the elements with these ids. */
export const find = (...ids) => ids.map(id => document.getElementById(id));

/** Return a new element: only ever with text, so that nothing which others sent becomes HTML. */
export function make(name, text = "", kind = "") {
  const element = document.createElement(name);
  element.textContent = text;
  element.className = kind;
  return element;
}

/** Return the colours of custom properties in this theme, by name: a canvas knows no properties. */
export function resolve(names) {
  const probe = document.body.appendChild(make("i"));
  const colours = {};
  for (const name of names) {
    probe.style.color = `var(--${name})`;
    colours[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return colours;
}

/** Call `back` whenever the theme changes between light and dark. */
export function onTheme(back) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", back);
}

/** Say in words how the connection is. */
export function state(words, isConnected) {
  const [status] = find("status");
  if (status.textContent !== words) status.textContent = words;
  status.className = isConnected ? "" : "lost";
}

/**
 * Keep connected to a path of this server, and return what sends.
 *
 * `path` is asked for each time. The first attempt to come back is made soon, others later and
 * later, and all at a moment of chance: else a server that begins anew would meet everybody at once.
 */
export function connect(path, {opened = () => {}, received = () => {}, lost = () => {}}) {
  let socket, timer, since = Infinity, wait = FIRST;

  function open() {
    clearTimeout(timer);
    timer = null;
    socket = new WebSocket(location.origin.replace("http", "ws") + path());
    socket.onopen = () => { since = Date.now(); opened(); };
    socket.onmessage = ({data}) => received(data);
    socket.onclose = comeBack;
  }

  function comeBack() {
    if (Date.now() - since > STEADY) wait = FIRST;
    since = Infinity;
    const delay = wait * (.75 + Math.random() / 2);
    state(`Connection lost. Trying again in ${Math.max(1, Math.round(delay / 1000))} s …`, false);
    lost();
    timer = setTimeout(open, delay);
    wait = Math.min(wait * 2, LONGEST);
  }

  const openNow = () => { if (timer && !document.hidden) open(); };
  addEventListener("online", openNow);
  document.addEventListener("visibilitychange", openNow);
  open();
  return message => {
    if (socket.readyState === WebSocket.OPEN) socket.send(message);
  };
}
