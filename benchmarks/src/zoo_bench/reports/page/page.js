"use strict";
// The page's program: sorts and filters the tables, shows protocols, fills charts.js's charts and the pictures. All
// that cards say is set as text, never as markup.
(() => {
  const { element, curves, scatter } = charts;
  const data = JSON.parse(document.getElementById("data").textContent);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  const rowOf = (t, r) => data.tasks[t].rows[r];
  for (const task of data.tasks)
    for (const row of task.rows) row.short = task.rows.filter((other) => other.name === row.name).length > 1 ? row.label : row.name;

  // Sorting. A likelihood orders its exact values only; any other column is one key, so all its rows have an order.

  function groupsOf(task, numbers, sort, descending) {
    const rows = task.rows;
    const byName = (a, b) => compare(rows[a].label, rows[b].label) || a - b;
    const sign = descending ? -1 : 1;
    if (sort === "model" || sort === "family") {
      const of = (i) => (sort === "model" ? rows[i].label : rows[i].family);
      const sorted = numbers.toSorted((a, b) => sign * compare(of(a), of(b)) || byName(a, b));
      return [[`all rows, by ${sort}: not by any result`, sorted]];
    }
    const column = task.columns[sort];
    const value = (i) => (column ? rows[i].cells[sort]?.value : rows[i].costs[sort]) ?? null;
    const byValue = (a, b) =>
      value(a) === null || value(b) === null
        ? (value(a) === null) - (value(b) === null) || byName(a, b)
        : sign * (value(a) - value(b)) || byName(a, b);
    if (column?.relational) {
      return Object.entries(data.groups)
        .map(([relation, title]) => {
          const members = numbers.filter((i) => (rows[i].cells[sort]?.relation ?? "") === relation);
          return [title, members.toSorted(relation === "=" ? byValue : byName)];
        })
        .filter(([, members]) => members.length);
    }
    const place = (i) => (value(i) === null ? 2 : column && rows[i].cells[sort].params.trained_with ? 1 : 0);
    const [there, trained, absent] = [0, 1, 2].map((kind) => numbers.filter((i) => place(i) === kind));
    const [how, order] = column?.flag ? ["a warning, not a score; by name", byName] : ["one key, in order", byValue];
    const title = column ? `all rows with ${column.title}: ${how}` : "all rows, by number of parameters";
    const apart = [[data.trained, trained.toSorted(byName)], ["no value, by name", absent.toSorted(byName)]];
    return [[title, there.toSorted(order)], ...apart].filter(([, members]) => members.length);
  }

  function sortTable(table, sort) {
    const task = data.tasks[table.dataset.t];
    const head = table.querySelector(`[data-sort="${CSS.escape(sort)}"]`).closest("th");
    const before = head.getAttribute("aria-sort");
    const descending = before ? before === "ascending" : Boolean(task.columns[sort]?.higher);
    const lines = new Map(all("tr[data-r]", table).map((line) => [Number(line.dataset.r), line]));
    const width = table.tHead.rows[0].cells.length;
    const bodies = groupsOf(task, [...lines.keys()], sort, descending).map(([title, members]) => {
      const band = element("tr", { class: "band" }, element("th", { colspan: width, scope: "rowgroup" }, element("span", {}, title)));
      return element("tbody", {}, band, ...members.map((i) => lines.get(i)));
    });
    for (const body of [...table.tBodies]) body.remove();
    table.append(...bodies);
    for (const other of all("th[aria-sort]", table)) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const column = task.columns[sort];
    const how = column?.relational ? "exact values only; bounds and estimates by name" : column ? "all rows of this key" : "all rows";
    const order = table.closest(".scroll").nextElementSibling;
    order.textContent = `Sorted by ${column?.title ?? sort}, ${descending ? "descending" : "ascending"}: ${how}.`;
    tidy(table);
  }

  for (const table of all("table.board")) {
    table.tHead.addEventListener("click", (event) => {
      const button = event.target.closest("[data-sort]");
      if (button) sortTable(table, button.dataset.sort);
    });
  }

  // Groups without a row are hidden; one value of each table can be reached by Tab, the others from it by arrow keys.

  function tidy(table) {
    for (const body of table.tBodies) body.hidden = !body.querySelector("tr:not(.band):not([hidden])");
    if (!table.matches(".board")) return;
    const cells = all("tr[data-r]:not([hidden]) .cell", table);
    const current = cells.find((cell) => cell.tabIndex === 0) ?? cells[0];
    for (const cell of all(".cell", table)) cell.tabIndex = cell === current ? 0 : -1;
  }

  function move(cell, key) {
    const table = cell.closest("table.board");
    if (!table) return null;
    const lines = all("tr[data-r]:not([hidden])", table);
    const line = cell.closest("tr");
    const inLine = all(".cell", line);
    const at = inLine.indexOf(cell);
    if (key === "ArrowLeft") return inLine[at - 1];
    if (key === "ArrowRight") return inLine[at + 1];
    if (key === "Home" || key === "End") return inLine.at(key === "Home" ? 0 : -1);
    const step = key === "ArrowDown" ? 1 : -1;
    for (let i = lines.indexOf(line) + step; i >= 0 && i < lines.length; i += step) {
      const found = lines[i].querySelector(`.cell[data-c="${cell.dataset.c}"]`);
      if (found) return found;
    }
    return null;
  }

  // Protocols: one dialog that is not modal, opened by pointing, focus, click or tap

  const dialog = document.getElementById("protocol");
  const targets = new WeakMap(); // marks of charts -> [task, row, columns]
  let opener = null;
  let held = false; // by a click, a tap or Enter: then only these, Escape or a press elsewhere close it
  let restoring = false; // the focus comes back to the value, which must not open the dialog again
  let timer = 0;

  function targetOf(node) {
    return targets.get(node) ?? [Number(node.closest("table").dataset.t), Number(node.closest("[data-r]").dataset.r), [node.dataset.c]];
  }

  function flat(value, path = "") {
    if (Array.isArray(value) && value.every((item) => typeof item !== "object" || item === null))
      return [[path, value.length ? value.join(", ") : "none"]];
    if (value === null || typeof value !== "object") return [[path, value === null ? "none" : String(value)]];
    return Object.entries(value).flatMap(([key, item]) => flat(item, path ? `${path}.${key}` : key));
  }

  function list(title, pairs) {
    if (!pairs.length) return [];
    const rows = pairs.flatMap(([key, value]) => {
      const long = /^[0-9a-f]{32,}$/.test(value) || key === "command";
      return [element("dt", {}, key.replaceAll("_", " ")), element("dd", long ? { class: "mono" } : {}, value)];
    });
    return [element("h3", {}, title), element("dl", {}, ...rows)];
  }

  const interval = (value, { low, high }, digits) =>
    Math.abs((low + high) / 2 - value) <= 0.01 * (high - low) + 1e-12
      ? `± ${((high - low) / 2).toFixed(digits)}`
      : `[${low.toFixed(digits)}, ${high.toFixed(digits)}]`;
  const shown = (cell, column) =>
    cell.status
      ? `${cell.status}: ${cell.params.reason ?? "no value"}`
      : `${cell.relation ? `${cell.relation} ` : ""}${cell.value.toFixed(column.digits)}` +
        (cell.interval ? ` ${interval(cell.value, cell.interval, column.digits)}` : "") +
        (cell.interval && cell.params.seeds ? ` sd (${cell.params.seeds} seeds)` : "") +
        (column.unit ? ` ${column.unit}` : "") +
        (column.flag ? (cell.params.flag ? " flagged" : " not flagged") : "") + (cell.params.trained_with ? " †" : "");

  function valueParts(column, cell, card) {
    const pairs = cell.status ? [] : [["value", String(cell.value)]];
    if (cell.interval) {
      pairs.push(["interval", `${cell.interval.low} to ${cell.interval.high}`]);
      for (const key of ["level", "method", "n"]) if (cell.interval[key] !== undefined) pairs.push([`interval: ${key}`, String(cell.interval[key])]);
    }
    for (const [seed, value] of cell.seeds ?? []) pairs.push([`seed ${seed}`, String(value)]);
    for (const [relation, value, method] of cell.weaker ?? []) pairs.push([`other likelihood, by ${method ?? "another way"}`, `${relation ?? ""} ${value}`]);
    const spread = column.relational && card.spread ? flat(card.spread).map(([key, value]) => [`${key} of images`, `${value} bits/dim`]) : [];
    return [
      element("p", { class: "big" }, shown(cell, column)),
      ...(cell.relation ? [element("p", {}, data.relations[cell.relation] ?? "")] : []),
      ...list("Value", [...pairs, ...spread]),
      ...list("Protocol", [
        ["metric", `${column.id}, version ${column.version}`],
        ["better", column.better ?? (column.flag ? "neither: a warning, not a score" : "not known: no value")],
        ["conditioning", column.conditioning],
        ...flat(cell.params),
        ["comparable key", column.key],
      ]),
    ];
  }

  function fill([t, r, columns]) {
    const [task, row] = [data.tasks[t], rowOf(t, r)];
    const there = columns.filter((c) => row.cells[c]);
    const card = data.cards[row.cards[0]];
    const names = there.map((c) => task.columns[c].title).join(" and ");
    const close = element("button", { type: "button", class: "close", "aria-label": "Close" }, "×");
    close.addEventListener("click", () => hide(true));
    const others = row.cards.slice(1).map((i) => [`samples of seed ${data.cards[i].sampling?.seed}`, data.cards[i].sampling?.sha256 ?? "none"]);
    dialog.replaceChildren(
      close,
      element("h2", { id: "protocol-title" }, `${row.label}: ${names}`),
      ...there.flatMap((c) => valueParts(task.columns[c], row.cells[c], card)),
      ...list("Task and data", [...flat(data.tasks_of_cards[card.task], "task"), ...flat(data.data[card.data])]),
      ...list("Samples", [...(card.sampling ? flat(card.sampling) : []), ...others]),
      ...list("Model and weights", flat(card.model)),
      ...list("Environment", [...flat(data.environments[card.environment]), ...(card.timing ? flat(card.timing, "timing") : [])]),
      ...list("Files and command", [
        ...(card.nats_file ? flat(card.nats_file, "nats per image") : []),
        ["command", card.command ?? "not recorded"],
      ]),
    );
  }

  function show(node, hold) {
    clearTimeout(timer);
    if (opener !== node) {
      if (opener) opener.setAttribute("aria-expanded", "false");
      fill(targetOf(node));
      opener = node;
      node.setAttribute("aria-expanded", "true");
      dialog.hidden = false;
      dialog.scrollTop = 0;
      place(node);
    }
    held = hold;
  }

  function place(node) {
    const box = node.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = dialog;
    const room = document.documentElement.clientWidth;
    const left = Math.max(8, Math.min(box.left, room - width - 8));
    const below = box.bottom + 6;
    const above = box.top - height - 6;
    const top = below + height < innerHeight || above < 0 ? below : above;
    dialog.style.left = `${left + scrollX}px`;
    dialog.style.top = `${top + scrollY}px`;
  }

  function hide(back = false) {
    clearTimeout(timer);
    if (!opener) return;
    const node = opener;
    opener = null;
    held = false;
    node.setAttribute("aria-expanded", "false");
    const inside = dialog.contains(document.activeElement);
    if ((back || inside) && node.isConnected) {
      restoring = true;
      node.focus({ preventScroll: true });
      restoring = false;
    }
    dialog.hidden = true;
  }

  const openerAt = (event) => event.target.closest?.(".cell, .mark-group");

  document.addEventListener("pointerover", (event) => {
    if (event.pointerType !== "mouse" || held) return;
    const node = openerAt(event);
    if (dialog.contains(event.target) || (node && node === opener)) return clearTimeout(timer);
    clearTimeout(timer);
    if (node) timer = setTimeout(() => show(node, false), 130);
    else if (opener && document.activeElement !== opener) timer = setTimeout(() => hide(), 260);
  });
  document.addEventListener("focusin", (event) => {
    const node = openerAt(event);
    if (node && node !== opener && node.matches(":focus-visible") && !restoring) show(node, false);
    else if (opener && node !== opener && !dialog.contains(event.target)) hide();
  });
  document.addEventListener("click", (event) => {
    const node = openerAt(event);
    if (!node) return;
    if (node === opener && held) return hide(true);
    show(node, true);
    if (event.detail === 0) dialog.focus({ preventScroll: true }); // by Enter: so that arrow keys scroll it
  });
  document.addEventListener("pointerdown", (event) => {
    if (opener && !dialog.contains(event.target) && openerAt(event) !== opener) hide();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && opener) {
      hide();
      event.preventDefault();
      return;
    }
    const node = openerAt(event);
    if (!node) return;
    if (node.matches(".mark-group") && (event.key === "Enter" || event.key === " ")) {
      show(node, true);
      dialog.focus({ preventScroll: true });
      event.preventDefault();
      return;
    }
    if (!["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"].includes(event.key)) return;
    const next = node.matches(".cell") ? move(node, event.key) : neighbour(node, event.key);
    if (node.matches(".mark-group") || node.closest("table.board")) event.preventDefault();
    if (!next || next === node) return;
    node.setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus();
  });
  addEventListener("resize", () => opener && (opener.isConnected ? place(opener) : hide()));

  function neighbour(node, key) {
    const marks = all(".mark-group", node.closest("svg"));
    const step = key === "ArrowLeft" || key === "ArrowUp" ? -1 : 1;
    if (key === "Home" || key === "End") return marks.at(key === "Home" ? 0 : -1);
    return marks[marks.indexOf(node) + step];
  }

  // Filters

  const form = document.querySelector(".filters");
  const wanted = () => Object.fromEntries(["model", "family", "task", "relation"].map((name) => [name, form.elements[name].value.trim()]));
  const passes = (want, model, family, relation) =>
    model.toLowerCase().includes(want.model.toLowerCase()) &&
    (!want.family || family === want.family) &&
    (!want.relation || relation === want.relation);

  function filter() {
    const want = wanted();
    const narrowed = Boolean(want.model || want.family || want.relation);
    for (const node of all("[data-model]")) node.hidden = !passes(want, node.dataset.model, node.dataset.family, node.dataset.relation);
    for (const node of all(".picture:not([data-model], .real)")) node.hidden = narrowed;
    for (const node of all(".shelf, .strip")) node.hidden = !node.querySelector("figure:not([hidden], .real)");
    for (const node of all(".task h4 + .shelf")) node.previousElementSibling.hidden = node.hidden;
    for (const table of all("main table")) tidy(table);
    for (const node of all(".part, .published")) node.hidden = !node.querySelector("tr[data-r]:not([hidden])");
    for (const node of all("[data-task]")) {
      const empty = narrowed && !node.matches(".plot") && !node.querySelector("[data-model]:not([hidden])");
      node.hidden = (want.task && node.dataset.task !== want.task) || empty;
    }
    const lines = all("#leaderboard .board tr[data-r]");
    const visible = lines.filter((line) => !line.hidden && !line.closest("[data-task]").hidden).length;
    form.querySelector("output").textContent =
      visible === lines.length ? `${visible} rows` : visible ? `${visible} of ${lines.length} rows` : "No row passes this filter";
    if (opener && !opener.getClientRects().length) hide();
    for (const figure of all(".plot:not([hidden])")) draw(figure);
  }

  for (const type of ["input", "change"]) form.addEventListener(type, filter); // what fills forms in may send one only
  form.addEventListener("reset", () => setTimeout(filter));
  form.addEventListener("submit", (event) => event.preventDefault());

  // Charts

  const titleOf = (column) => `${column.title}${column.unit ? ` [${column.unit}]` : ""}`;
  const special = (row) => row.mark === "constructed" || row.mark === "floor";

  function rowsShown(task) {
    const want = wanted();
    return [...task.rows.keys()].filter((r) => passes(want, task.rows[r].label, task.rows[r].family, task.rows[r].relation ?? "none"));
  }

  function pointOf(t, r, y) {
    const [task, row] = [data.tasks[t], rowOf(t, r)];
    const cell = row.cells[y];
    if (cell?.value === undefined) return null;
    const range = cell.interval ? { bottom: cell.interval.low, top: cell.interval.high } : {};
    return { y: cell.value, ...range, special: special(row), label: row.short, says: `${row.label}: ${task.columns[y].title} ${shown(cell, task.columns[y])}` };
  }

  function drawScatter(t, x, y) {
    const task = data.tasks[t];
    const numbers = rowsShown(task);
    const points = numbers.flatMap((r) => {
      const point = pointOf(t, r, y);
      if (!point) return [];
      const cell = rowOf(t, r).cells[x];
      if (cell?.value === undefined) return [{ ...point, kind: "none", says: `${point.says}; no ${task.columns[x].title}`, target: [t, r, [y]] }];
      const range = cell.interval ? { low: cell.interval.low, high: cell.interval.high } : {};
      const says = `${point.says}; ${task.columns[x].title} ${shown(cell, task.columns[x])}`;
      return [{ ...point, ...range, x: cell.value, kind: cell.relation ?? "=", says, target: [t, r, [x, y]] }];
    });
    const better = (column) => (column.better ? `${column.better} is better` : "no value");
    const note = `${task.columns[x].title}: ${better(task.columns[x])}; ${task.columns[y].title}: ${better(task.columns[y])}.`;
    const without = numbers.length - points.length;
    return {
      panels: [{ points, xTitle: titleOf(task.columns[x]), yTitle: titleOf(task.columns[y]), margin: "no likelihood" }],
      note: note + (without ? ` Not drawn: ${without} without ${task.columns[y].title}.` : ""),
    };
  }

  function drawCost(t, x, y) {
    const task = data.tasks[t];
    const [title, unit, local] = data.costs[x];
    const groups = new Map();
    let without = 0;
    for (const r of rowsShown(task)) {
      const row = rowOf(t, r);
      const point = pointOf(t, r, y);
      if (!point || row.costs[x] === null) {
        without += 1;
        continue;
      }
      const place = !local ? "" : x.startsWith("training") ? `trained on: ${row.trained_on} (no more is recorded)` : row.machine;
      const kind = row.cells[y].relation === "≤" ? "≤y" : (row.cells[y].relation ?? "=");
      const says = `${point.says}; ${title} ${row.costs[x].toLocaleString("en")} ${unit}`;
      groups.set(place, [...(groups.get(place) ?? []), { ...point, x: row.costs[x], kind, says, target: [t, r, [y]] }]);
    }
    const panels = [...groups].toSorted(([a], [b]) => compare(a, b)).map(([heading, points]) => ({
      heading,
      points,
      xTitle: unit ? `${title} [${unit}]` : title,
      yTitle: titleOf(task.columns[y]),
    }));
    const bound = task.columns[y].relational ? " A triangle is an upper bound, the truth lies below it; a diamond an estimate." : "";
    return { panels, note: `Informational.${bound}${without ? ` Not drawn: ${without} without both numbers.` : ""}` };
  }

  function draw(figure) {
    const canvas = figure.querySelector(".canvas");
    if (!canvas.clientWidth) return;
    const [x, y] = ["x", "y"].map((axis) => figure.querySelector(`[data-axis="${axis}"]`).value);
    const { panels, note } = (figure.dataset.kind === "scatter" ? drawScatter : drawCost)(Number(figure.dataset.t), x, y);
    if (opener && canvas.contains(opener)) hide();
    const boxes = panels.filter((panel) => panel.points.length).map((panel) => [panel, element("div", {}, ...(panel.heading ? [element("h4", {}, panel.heading)] : []))]);
    canvas.replaceChildren(element("div", boxes.length > 1 ? { class: "panels" } : {}, ...boxes.map(([, box]) => box)));
    let unnamed = 0;
    for (const [panel, box] of boxes) {
      const { svg, marks, silent } = scatter(box, panel.points, panel);
      for (const [mark, target] of marks) targets.set(mark, target);
      box.append(svg);
      unnamed += silent;
    }
    const many = unnamed === 1 ? "1 mark has" : `${unnamed} marks have`;
    const silence = unnamed ? ` ${many} no room for a name: point at one, or go through them by arrow keys.` : "";
    figure.querySelector(".note").textContent = boxes.length ? note + silence : "No row has both numbers.";
  }

  for (const figure of all(".plot")) figure.addEventListener("change", () => draw(figure));

  function drawCurve(figure) {
    const canvas = figure.querySelector(".canvas");
    if (canvas.clientWidth) canvas.replaceChildren(...curves(canvas, rowOf(figure.dataset.t, figure.dataset.r).curve));
  }

  // Pictures and curves are made when they come near the window, and all of them before printing.

  function appear(node) {
    if (node.matches("img")) node.src = data.images[node.dataset.image] ?? "";
    else drawCurve(node);
  }
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        appear(target);
        watcher.unobserve(target);
      }
    },
    { rootMargin: "600px" },
  );
  for (const node of all("img[data-image], figure.curve")) watcher.observe(node);
  addEventListener("beforeprint", () => all("img[data-image], figure.curve").forEach(appear));

  let lastWidth = document.documentElement.clientWidth;
  let frame = 0;
  new ResizeObserver(() => {
    if (document.documentElement.clientWidth === lastWidth) return;
    lastWidth = document.documentElement.clientWidth;
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => {
      for (const figure of all(".plot:not([hidden])")) draw(figure);
      for (const figure of all("figure.curve")) if (figure.querySelector("svg")) drawCurve(figure);
    });
  }).observe(document.documentElement);

  for (const cell of all("table.aside .cell")) cell.tabIndex = 0;
  filter();
  document.documentElement.dataset.ready = "true";
})();
