// The page that plots what phones feel: it keeps what came for ten seconds, and draws once a frame.

import {connect, find, make, onTheme, resolve, state} from "./page.js";
import {turn} from "./tilt.js";

const SECONDS = 10, RANGE = 13, MOST = 2000, TEXT_EVERY = 250;  // m/s²; readings; milliseconds
const GUTTER = 28;  // pixels for the numbers of the scale
const AXES = ["x", "y", "z"], ANGLES = ["Compass", "Front to back", "Left to right"];
const [phones, said] = find("phones", "said");
const empty = phones.appendChild(make("p", "No phone is sending yet.", "quiet"));
const known = new Map();  // by the number that the server gave
let colours;

function entries(labels, kind) {
  const list = make("dl"), values = [];
  for (const label of labels) {
    const entry = list.appendChild(make("div", "", kind || label));
    entry.append(make("dt", label));
    values.push(entry.appendChild(make("dd", "–")));
  }
  return [list, values];
}

function add(number, name) {
  const card = make("section"), title = make("h2", name || "Phone");
  const canvas = make("canvas"), stage = make("div", "", "stage"), model = make("div", "", "model");
  const [axes, ofAxes] = entries(AXES), [angles, ofAngles] = entries(ANGLES, "angle");
  canvas.role = "img";
  canvas.ariaLabel = `Acceleration of ${name} in the last ${SECONDS} seconds`;
  model.ariaHidden = "true";
  title.id = `phone${number}`;
  card.setAttribute("aria-labelledby", title.id);
  stage.append(model);
  card.append(title, canvas, stage, axes, angles);
  phones.append(card);
  known.set(number, {name, card, canvas, model, ofAxes, ofAngles, readings: [], offset: Infinity, written: 0});
}

function received(data) {
  const {phone, name, left, ...reading} = JSON.parse(data);
  if (name !== undefined && !known.has(phone)) {
    add(phone, name);
    said.textContent = `${name} has joined`;
  }
  if (reading.acceleration) keep(known.get(phone), reading);
  if (left) remove(left);
  empty.hidden = known.size > 0;
}

/** Keep a reading where the phone's clock has it: networks deliver in bursts. */
function keep(phone, {at, acceleration, orientation}) {
  if (!phone) return;
  // Of all readings the one that took the shortest way tells how the two clocks differ.
  phone.offset = Math.min(phone.offset, performance.now() - at);
  phone.readings.push({at, acceleration, orientation});
}

function remove(number) {
  const phone = known.get(number);
  if (!phone) return;
  phone.card.remove();
  known.delete(number);
  said.textContent = `${phone.name} has left`;
}

function plot({canvas, readings, offset}, now) {
  const paint = canvas.getContext("2d"), ratio = devicePixelRatio;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight].map(
    size => Math.round(size * ratio));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, {width, height});
  const most = readings.flatMap(each => each.acceleration).map(Math.abs);
  const range = Math.max(RANGE, ...most), grid = 10 * Math.ceil(range / 40);
  const y = value => height / 2 - value / range * (height / 2 - 4 * ratio);
  paint.clearRect(0, 0, width, height);
  paint.font = `${11 * ratio}px system-ui, sans-serif`;
  for (const value of [-grid, 0, grid]) {
    paint.fillStyle = colours.line;
    paint.fillRect(0, Math.round(y(value)), width, ratio);
    paint.fillStyle = colours.quiet;
    paint.fillText(value, 0, y(value) - 3 * ratio);
  }
  paint.lineWidth = 2 * ratio;
  paint.lineJoin = "round";
  AXES.forEach((axis, number) => {
    paint.strokeStyle = colours[axis];
    paint.beginPath();
    for (const {at, acceleration} of readings) {
      const age = (now - offset - at) / SECONDS / 1000;
      paint.lineTo(width - age * (width - GUTTER * ratio), y(acceleration[number]));
    }
    paint.stroke();
  });
}

function write(phone, {acceleration, orientation}) {
  phone.ofAxes.forEach((each, i) => { each.textContent = acceleration[i].toFixed(1) + " m/s²"; });
  phone.ofAngles.forEach((each, i) => { each.textContent = Math.round(orientation[i]) + "°"; });
}

function frame(now) {
  known.forEach(phone => {
    const {readings, model} = phone;
    while (readings.length > MOST || readings[0]?.at + phone.offset < now - SECONDS * 1000) {
      readings.shift();
    }
    plot(phone, now);
    const last = readings.at(-1);
    if (!last) return;
    turn(model, last.orientation);
    if (now - phone.written < TEXT_EVERY) return;
    phone.written = now;
    write(phone, last);
  });
  requestAnimationFrame(frame);
}

connect(() => "/watch", {
  opened: () => {
    [...known.keys()].forEach(remove);  // whoever is still there is told anew
    empty.hidden = false;
    state("Connected", true);
  },
  received,
});
const readColours = () => { colours = resolve(["line", "quiet", ...AXES]); };
onTheme(readColours);
readColours();
requestAnimationFrame(frame);
