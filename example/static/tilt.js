// A phone's tilt: how it is shown, and what gravity does to it.

const GRAVITY = 9.81;

/** Turn an element as the phone is: alpha, beta and gamma are degrees, as the browser tells them. */
export function turn(element, [alpha, beta, gamma]) {
  // From above the lower edge: who lays the phone flat sees it so. The page's y goes downwards.
  element.style.transform =
    `rotateX(50deg) rotateZ(${-alpha}deg) rotateX(${-beta}deg) rotateY(${gamma}deg)`;
  element.classList.toggle("back", gravity([alpha, beta, gamma])[2] < 0);
}

/** Return what a phone that rests at these angles is pushed by, in the directions of its axes. */
export function gravity([, beta, gamma]) {
  const [b, g] = [beta, gamma].map(angle => angle * Math.PI / 180);
  return [-Math.cos(b) * Math.sin(g), Math.sin(b), Math.cos(b) * Math.cos(g)].map(
    value => value * GRAVITY);
}
