
"use strict";
// One question at a time: the server says which, the page shows it and sends ranks by place on the page (1 is best).
// It knows pictures by number only. An answer is on disk before the next question comes.
const $ = (id) => document.getElementById(id);
const STUDY = JSON.parse($("facts").textContent);
const isPair = STUDY.mode === "contrast";

let state = null;    // what the server last said
let order = [];      // ranking: places on the page as they came, in the judge's order, best first
let held = 0;        // ranking: where in that order the keyboard is
let since = 0;       // when the pictures were there
let busy = true;     // nothing is taken while a question is coming or an answer is going
let pending = null;  // the request that "Try again" repeats

async function call(path, body) {
  const options = body === undefined ? {} :
    { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetch(path, { ...options, cache: "no-store" });
  const said = await response.json();
  if (!response.ok) throw Object.assign(new Error(said.error), { heard: true, refused: response.status < 500 });
  return said;
}

async function ask(path, body) {
  busy = true;
  pending = [path, body];
  try {
    const said = await call(path, body);
    pending = null;
    $("trouble").hidden = true;
    await show(said.state || null);
  } catch (error) {
    trouble(error.heard
      ? `That was not taken: ${error.message}.`
      : "The study’s server does not answer. All answers so far are saved. If it was stopped, start it again with the " +
        "same command and open the address that it prints.");
    if (error.refused && path !== "state") pending = ["state", undefined];
  }
}

function trouble(text) {
  $("trouble").querySelector("p").textContent = text;
  $("trouble").hidden = false;
  $("again").focus();
}

// -- what is seen ----------------------------------------------------------------------------------------------------

async function show(next) {
  state = next;
  for (const id of ["welcome", "study", "end"]) $(id).hidden = true;
  $("top").hidden = !state;
  if (!state) {
    $("welcome").hidden = false;
    $("name").focus();
    busy = false;
    return;
  }
  const { answered, total } = state;
  $("progress").textContent = `${answered} of ${total}`;
  $("bar").setAttribute("aria-valuemax", total);
  $("bar").setAttribute("aria-valuenow", answered);
  $("bar").firstElementChild.style.width = `${100 * answered / total}%`;
  $("leave").textContent = state.judge ? `${state.judge}: change` : "Anonymous: change";
  $("undo").disabled = answered === 0;
  if (!state.now) {
    $("saved").textContent = `Your ${answered} answers are saved. You may close this page.`;
    $("end").hidden = false;
    $("end").querySelector("h1").focus();
    busy = false;
    return;
  }
  $("study").hidden = false;
  await question(state.now);
  if (state.behind) for (const name of state.behind.images) new Image().src = `image/${name}`;
}

async function question(now) {
  const arena = document.createElement(isPair ? "div" : "ol");
  arena.id = "arena";
  arena.className = isPair ? "waiting" : "ranking waiting";
  $("arena").replaceWith(arena);
  order = now.images.map((_, place) => place);
  held = 0;
  const pictures = now.images.map((name, place) => {
    const choice = document.createElement("button");
    const picture = document.createElement("img");
    choice.type = "button";
    choice.className = "choice";
    picture.src = `image/${name}`;
    picture.draggable = false;
    picture.alt = isPair ? ["Left image", "Right image"][place] : `Image ${"ABCDEFGHI"[place]}`;
    choice.append(picture);
    if (isPair) {
      choice.append(Object.assign(document.createElement("kbd"), { textContent: "←→"[place] }));
      choice.addEventListener("click", () => answerPair(place));
      arena.append(choice);
    } else {
      choice.append(Object.assign(document.createElement("span"), { className: "place" }));
      choice.dataset.place = place;
      choice.addEventListener("pointerdown", (event) => hold(event, choice));
      choice.addEventListener("focus", () => { held = order.indexOf(place); mark(); });
      const item = document.createElement("li");
      item.append(choice);
      arena.append(item);
    }
    return picture;
  });
  try {
    await Promise.all(pictures.map((picture) => picture.decode()));
  } catch {
    pending = ["state", undefined];
    trouble("A picture could not be loaded. All answers so far are saved.");
    return;
  }
  fit();
  if (!isPair) arrange();
  arena.classList.remove("waiting");
  const active = document.activeElement;
  if (!active || active === document.body || !active.isConnected || active.closest("[hidden]")) $("question").focus();
  since = performance.now();
  busy = false;
}

// Whole device pixels for each pixel of a picture, so that all are sharp and all alike.
function fit() {
  const pictures = [...$("arena").querySelectorAll("img")];
  if (!pictures.length || !pictures[0].naturalWidth) return;
  const { naturalWidth: w, naturalHeight: h } = pictures[0];
  const wide = Math.min(document.documentElement.clientWidth, 1056) - 32;
  const columns = isPair ? 2 : wide >= 640 ? Math.min(STUDY.k, 5) : Math.min(STUDY.k, 2);
  const frame = isPair ? 36 : 46;
  const room = Math.min(wide / columns - frame, isPair ? 336 : 208);
  const tall = Math.max(96, window.innerHeight * (isPair ? 0.55 : wide >= 640 ? 0.5 : 0.24));
  const dots = window.devicePixelRatio || 1;
  const most = Math.min(room / w, tall / h, 20);  // larger pixels hide what they show
  const whole = Math.floor(most * dots) / dots;
  for (const picture of pictures) {
    picture.style.width = `${w * (whole || most)}px`;
    picture.style.height = `${h * (whole || most)}px`;
    picture.classList.toggle("crisp", whole > 0);
  }
}

// -- two alternatives ------------------------------------------------------------------------------------------------

function answerPair(place) {
  if (busy) return;
  const ranks = place === null ? [1, 1] : place === 0 ? [1, 2] : [2, 1];
  if (place !== null) $("arena").children[place].classList.add("chosen");
  send(ranks, place === null ? "Can’t tell" : ["Left", "Right"][place]);
}

function send(ranks, what) {
  const seconds = Math.round(performance.now() - since) / 1000;
  ask("answer", { question: state.now.id, ranks, seconds }).then(() => {
    if (!pending && state) $("said").textContent = `${what} saved. ${state.answered} of ${state.total}.`;
  });
}

function undo() {
  if (busy || !state || state.answered === 0) return;
  ask("undo", {}).then(() => { if (!pending) $("said").textContent = "The last answer was taken back."; });
}

// -- ranking ---------------------------------------------------------------------------------------------------------

const item = (place) => $("arena").querySelector(`[data-place="${place}"]`);

function arrange() {
  const focused = document.activeElement;
  order.forEach((place, rank) => {
    const choice = item(place);
    if ($("arena").children[rank] !== choice.parentNode) $("arena").insertBefore(choice.parentNode, $("arena").children[rank]);
    const word = rank === 0 ? "1, best" : rank === order.length - 1 ? `${rank + 1}, last` : `${rank + 1}`;
    choice.querySelector(".place").textContent = word;
    choice.setAttribute("aria-label", `${choice.querySelector("img").alt}, place ${rank + 1} of ${order.length}`);
  });
  if (focused && focused.dataset && focused.dataset.place !== undefined) focused.focus();
  mark();
}

function mark() {
  for (const choice of $("arena").querySelectorAll(".choice")) {
    choice.classList.toggle("chosen", choice === document.activeElement);
  }
}

function move(from, to) {
  to = Math.max(0, Math.min(order.length - 1, to));
  const [place] = order.splice(from, 1);
  order.splice(to, 0, place);
  held = to;
  arrange();
  $("said").textContent = `${item(place).querySelector("img").alt}: place ${to + 1} of ${order.length}`;
}

function hold(down, choice) {
  if (busy || down.button !== 0) return;
  choice.focus({ preventScroll: true });
  const place = Number(choice.dataset.place);
  let [x, y] = [down.clientX, down.clientY];
  const drag = (event) => {  // on the window: moving an element in the page would end its capture of the pointer
    if (event.pointerId !== down.pointerId) return;
    let [dx, dy] = [event.clientX - x, event.clientY - y];
    if (Math.hypot(dx, dy) > 5) choice.classList.add("held");
    if (!choice.classList.contains("held")) return;
    choice.style.transform = "";
    const others = order.map((each) => item(each).getBoundingClientRect());
    const distance = (box) => Math.hypot(event.clientX - box.x - box.width / 2, event.clientY - box.y - box.height / 2);
    const from = order.indexOf(place);
    const to = others.reduce((best, box, rank) => (distance(box) < distance(others[best]) ? rank : best), from);
    if (to !== from) {
      const before = choice.getBoundingClientRect();
      move(from, to);
      const after = choice.getBoundingClientRect();
      x += after.x - before.x;
      y += after.y - before.y;
      [dx, dy] = [event.clientX - x, event.clientY - y];
    }
    choice.style.transform = `translate(${dx}px, ${dy}px)`;
  };
  const drop = () => {
    choice.classList.remove("held");
    choice.style.transform = "";
    for (const [name, listener] of listeners) window.removeEventListener(name, listener);
  };
  const listeners = [["pointermove", drag], ["pointerup", drop], ["pointercancel", drop]];
  for (const [name, listener] of listeners) window.addEventListener(name, listener);
}

function answerRanking() {
  if (busy) return;
  const ranks = [];
  order.forEach((place, rank) => { ranks[place] = rank + 1; });
  send(ranks, "The order is");
}

// -- keys and buttons ------------------------------------------------------------------------------------------------

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "INPUT" || !state) return;
  const act = isPair ? pairKeys[event.key] : rankingKey(event);
  const wanted = event.key === "Backspace" || event.key === "u" || event.key === "U" ? undo : state.now && act;
  if (!wanted) return;
  event.preventDefault();
  if (!event.repeat || !isPair) wanted();
}

const pairKeys = {
  ArrowLeft: () => answerPair(0),
  ArrowRight: () => answerPair(1),
  ArrowDown: () => answerPair(null),
};

function rankingKey(event) {
  if (busy) return null;
  const onPicture = document.activeElement && document.activeElement.dataset.place !== undefined;
  const focus = (rank) => item(order[(rank + order.length) % order.length]).focus();
  if (event.key === "ArrowRight") return () => focus(onPicture ? held + 1 : 0);
  if (event.key === "ArrowLeft") return () => focus(onPicture ? held - 1 : order.length - 1);
  const onButton = document.activeElement.tagName === "BUTTON" && !onPicture;
  if (event.key === "Enter" && !event.repeat && !onButton) return answerRanking;
  if (!onPicture) return null;
  if (event.key === "ArrowUp") return () => move(held, held - 1);
  if (event.key === "ArrowDown") return () => move(held, held + 1);
  const number = Number(event.key);
  return number >= 1 && number <= order.length ? () => move(held, number - 1) : null;
}

document.addEventListener("keydown", key);
window.addEventListener("resize", fit);
$("welcome").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!busy) ask("judge", { name: $("name").value.trim() || null });
});
$("undo").addEventListener("click", undo);
$("back").addEventListener("click", undo);
$("tie").addEventListener("click", () => answerPair(null));
$("done").addEventListener("click", answerRanking);
$("leave").addEventListener("click", () => { if (!busy) ask("leave", {}); });
$("again").addEventListener("click", () => { if (pending) ask(...pending); });

$("question").textContent = STUDY.question;
$("tie").hidden = !isPair;
$("done").hidden = isPair;
$("explain").textContent = isPair
  ? "You will see two images at a time and choose one. Some are made by programs, some may be real. Nobody tells you " +
    "which: go by what you see."
  : `You will see ${STUDY.k} images at a time and put them in order. Some are made by programs, some may be real. ` +
    "Nobody tells you which: go by what you see.";
$("help").textContent = isPair ? "Choose the image itself." : "Drag the images: the best comes first.";
$("keys").textContent = isPair
  ? " With keys: the arrow that points to it."
  : " With keys: ← and → select, ↑ and ↓ or a number move the selected one.";
ask("state");
