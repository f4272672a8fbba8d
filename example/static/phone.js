// A phone's page: it sends what the sensors tell, or where there are none, what sliders say.

import {connect, find, state} from "./page.js";
import {gravity, turn} from "./tilt.js";

const EVERY = 50, PATIENCE = 1500;  // milliseconds: between two readings; until a sensor has spoken
const [form, name, start, source, sliders, model] =
  find("form", "name", "start", "source", "sliders", "model");
const angles = find("alpha", "beta", "gamma");
let acceleration, orientation = [0, 0, 0], isSensed = false, isOpen = false, send;

name.value = localStorage.phone || (/iPhone|iPad|Android/.exec(navigator.userAgent) ?? ["My phone"])[0];

/** Ask whoever holds the phone, where that is asked; iOS wants to be asked by a tap. */
async function mayListen() {
  for (const kind of [window.DeviceMotionEvent, window.DeviceOrientationEvent]) {
    if (kind?.requestPermission && await kind.requestPermission() !== "granted") return false;
  }
  return true;
}

function listen() {
  addEventListener("devicemotion", event => {
    const {x, y, z} = event.accelerationIncludingGravity ?? {};
    if (typeof x !== "number") return;  // a desk has no sensors, and some browsers say so
    acceleration = [x, y, z];
    sense();
  });
  addEventListener("deviceorientation", ({alpha, beta, gamma}) => {
    if (typeof beta !== "number") return;
    orientation = [alpha ?? 0, beta, gamma ?? 0];
    sense();
  });
}

function sense() {
  if (isSensed) return;
  isSensed = true;
  sliders.hidden = true;
  source.textContent = "The phone’s own sensors are sent. Move it!";
}

function useSliders(why) {
  if (isSensed) return;
  sliders.hidden = false;
  source.textContent = `${why} Use the sliders.`;
}

function read() {
  if (isSensed) return;
  orientation = angles.map(angle => +angle.value);
  angles.forEach(angle => { angle.nextElementSibling.textContent = `${angle.value}°`; });
}

function tick() {
  read();
  turn(model, orientation);
  if (!isOpen) return;
  const round = vector => vector.map(value => +value.toFixed(2));
  send(JSON.stringify({
    at: Math.round(performance.now()),
    acceleration: round((isSensed && acceleration) || gravity(orientation)),
    orientation: round(orientation),
  }));
}

form.onsubmit = async event => {
  event.preventDefault();
  start.disabled = name.disabled = true;
  start.textContent = "Sending";
  localStorage.phone = name.value;
  state("Connecting …", false);
  let isAllowed = false;
  try {
    isAllowed = await mayListen();
  } catch (error) {
    console.warn(error);
  }
  if (isAllowed) listen();
  const secure = isSecureContext ? "There are no motion sensors here." :
    "Browsers give a page the motion sensors over https alone.";
  setTimeout(useSliders, isAllowed ? PATIENCE : 0,
    isAllowed ? secure : "This page may not know how the phone moves.");
  send = connect(() => "/send?name=" + encodeURIComponent(name.value), {
    opened: () => { isOpen = true; state("Connected", true); },
    lost: () => { isOpen = false; },
  });
};
read();
setInterval(tick, EVERY);
