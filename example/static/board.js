// A drawing board. What is drawn goes to the server in short lines, and is drawn again when it comes
// back: in the server's order, so that all see the same in the end.

import {connect, find, make, onTheme, resolve, state} from "./page.js";

const SIZE = 2000, MOST_POINTS = 64, MOST_LINES = 20_000, STEP = 40, SMALL_STEP = 8;
const NAMES = ["Ink", "Red", "Orange", "Yellow", "Green", "Blue", "Violet", "Rubber"];
const [board, cursor, colours, width, thickness, clear, said] =
  find("board", "cursor", "colours", "width", "thickness", "clear", "said");
const paint = board.getContext("2d");
const pens = new Map();  // by pointer, "keys" for the keyboard: the points that are not sent yet
let lines = [], palette = [], scale = 1, isConnected = false, at = [SIZE / 2, SIZE / 2];

// What is drawn

function draw({colour, width, points}) {
  paint.strokeStyle = palette[colour];
  paint.lineWidth = width * scale;
  paint.beginPath();
  paint.moveTo(points[0] * scale, points[1] * scale);
  for (let i = 2; i < points.length; i += 2) paint.lineTo(points[i] * scale, points[i + 1] * scale);
  paint.stroke();
}

function drawAll() {
  palette = Object.values(resolve(NAMES.map((_, number) => `c${number}`)));
  board.width = board.height = Math.round(board.clientWidth * devicePixelRatio);
  scale = board.width / SIZE;
  paint.lineCap = paint.lineJoin = "round";
  lines.forEach(draw);
  placeCursor();
}

function received(data) {
  const {drawn, more, clear: cleared, here} = JSON.parse(data);
  if (cleared) say("The board was cleared");
  if (cleared || (drawn && !more)) lines = [];
  if (drawn) lines.push(...drawn);
  if (lines.length > MOST_LINES) lines.splice(0, lines.length - MOST_LINES);
  if (more) drawn.forEach(draw); else if (drawn || cleared) drawAll();
  if (here) {
    state(here === 1 ? "Connected. Nobody else is here" : `Connected. ${here} are here`, true);
    allow(true);
  }
}

function allow(isAllowed) {
  isConnected = isAllowed;
  clear.disabled = !isAllowed;
  board.className = isAllowed ? "" : "lost";
  if (!isAllowed) [...pens.keys()].forEach(lift);
}

const send = connect(() => "/ws", {received, lost: () => allow(false)});
const say = words => { said.textContent = words; };

// What draws: pointers, and the keyboard

const pen = () => ({colour: +colours.querySelector(":checked").value, width: +width.value});
const clamp = value => Math.max(0, Math.min(SIZE, Math.round(value)));

function put(id, point, pressure = 1) {
  if (!isConnected) return;
  const {colour, width} = pen();
  pens.set(id, {colour, width: Math.max(1, Math.round(width * pressure)), points: [...point]});
}

function move(id, point, pressure = 1) {
  const line = pens.get(id);
  if (!line) return;
  const last = line.points.slice(-2);
  line.points.push(...point);
  draw({...line, points: [...last, ...point]});  // at once: it is to follow the hand
  if (line.points.length >= 2 * MOST_POINTS) flush(line);
  line.width = Math.max(1, Math.round(pen().width * pressure));
}

function lift(id) {
  const line = pens.get(id);
  pens.delete(id);
  if (!line) return;
  if (!line.sent && line.points.length === 2) line.points.push(...line.points);  // a dot
  flush(line);
  if (id === "keys") placeCursor();
}

/** Send what a line has gained, and go on from its last point. */
function flush(line) {
  if (line.points.length < 4) return;
  const {colour, width, points} = line;
  send(JSON.stringify({colour, width, points}));
  line.points = points.slice(-2);
  line.sent = true;
}

const flushAll = () => pens.forEach(flush);

function pointOf(event) {
  const box = board.getBoundingClientRect(), inside = board.clientWidth;
  const place = (position, start) => clamp((position - start - board.clientLeft) / inside * SIZE);
  return [place(event.clientX, box.left), place(event.clientY, box.top)];
}

// A pen tells how hard it is pressed; of others the value means nothing.
const pressureOf = event => event.pointerType === "pen" ? .4 + 1.2 * event.pressure : 1;

board.onpointerdown = event => {
  if (event.button !== 0) return;
  board.setPointerCapture(event.pointerId);
  put(event.pointerId, pointOf(event), pressureOf(event));
};
board.onpointermove = event => {
  const all = event.getCoalescedEvents?.() ?? [];
  for (const each of all.length ? all : [event]) {
    move(event.pointerId, pointOf(each), pressureOf(each));
  }
  flushAll();  // a browser makes one event of all that happens between two frames
};
board.onpointerup = board.onpointercancel = event => lift(event.pointerId);

function placeCursor() {
  cursor.style.left = `${at[0] / SIZE * 100}%`;
  cursor.style.top = `${at[1] / SIZE * 100}%`;
  cursor.className = pens.has("keys") ? "down" : "";
}

const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};

board.onkeydown = event => {
  const arrow = ARROWS[event.key], step = event.shiftKey ? SMALL_STEP : STEP;
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (arrow) {
    at = at.map((value, axis) => clamp(value + arrow[axis] * step));
    move("keys", at);
    flushAll();
  } else if (event.key === " " && !event.repeat) {
    if (pens.has("keys")) lift("keys"); else put("keys", at);
    say(pens.has("keys") ? "The pen is down" : "The pen is lifted");
  } else if (event.key !== " ") return;
  event.preventDefault();
  cursor.hidden = false;
  placeCursor();
};
board.onfocus = () => { cursor.hidden = !board.matches(":focus-visible"); placeCursor(); };
board.onblur = () => { cursor.hidden = true; lift("keys"); };

// Tools, and what changes the look

NAMES.forEach((name, number) => {
  const input = make("input"), label = make("label");
  Object.assign(input, {type: "radio", name: "colour", value: number, checked: number === 0});
  label.title = name;
  label.style.background = `var(--c${number})`;
  label.append(input, make("span", name, "hidden"), number === NAMES.length - 1 ? "⌫" : "");
  colours.append(label);
});
width.oninput = () => { thickness.textContent = width.value; };
width.oninput();
clear.onclick = () => send(JSON.stringify({clear: true}));
onTheme(drawAll);
new ResizeObserver(drawAll).observe(board);
