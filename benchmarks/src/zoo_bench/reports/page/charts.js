"use strict";
// Charts as SVG: scales, marks with names where there is room, curves. They know nothing of cards.
const charts = (() => {
  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function drawn(name, attributes = {}, ...children) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function scale(values, from, to, pad = 0.06) {
    const known = values.filter((value) => value !== undefined && Number.isFinite(value));
    let [low, high] = [Math.min(...known), Math.max(...known)];
    const log = low > 0 && high / low > 30;
    const [f, inverse] = log ? [Math.log10, (x) => 10 ** x] : [(x) => x, (x) => x];
    [low, high] = [f(low), f(high)];
    const room = (high - low || Math.abs(high) || 1) * pad;
    [low, high] = [low - room, high + room];
    const at = (value) => from + ((f(value) - low) / (high - low)) * (to - from);
    const many = Math.max(3, Math.floor(Math.abs(to - from) / 70));
    return { at, log, ticks: (log ? logTicks : ticks)(low, high, many).map((tick) => [tick, at(tick)]), low: inverse(low), high: inverse(high) };
  }

  function ticks(low, high, many) {
    const rough = (high - low) / many;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= rough);
    const found = [];
    for (let k = Math.ceil(low / step); k * step <= high; k += 1) found.push(Number((k * step).toPrecision(12)));
    return found;
  }

  function logTicks(low, high, many) {
    const found = [];
    const parts = high - low < many / 2 ? [1, 2, 5] : [1];
    for (let power = Math.floor(low); power <= high; power += 1)
      for (const k of parts) if (Math.log10(k) + power >= low && Math.log10(k) + power <= high) found.push(Number((k * 10 ** power).toPrecision(3)));
    return found;
  }

  const tickText = (value) =>
    Math.abs(value) >= 1e6
      ? `${Number((value / 1e6).toPrecision(3))}M`
      : Math.abs(value) >= 1e4
        ? `${Number((value / 1e3).toPrecision(3))}k`
        : value !== 0 && Math.abs(value) < 1e-3
          ? value.toExponential(0)
          : String(value);

  function shape(kind, x, y, r) {
    if (kind === "≤") return drawn("path", { class: "dot", d: `M${x - 1.5 * r} ${y}L${x + r} ${y - 1.15 * r}L${x + r} ${y + 1.15 * r}Z` });
    if (kind === "≤y") return drawn("path", { class: "dot", d: `M${x} ${y + 1.5 * r}L${x - 1.15 * r} ${y - r}L${x + 1.15 * r} ${y - r}Z` });
    if (kind === "≈") return drawn("path", { class: "dot", d: `M${x - 1.35 * r} ${y}L${x} ${y - 1.35 * r}L${x + 1.35 * r} ${y}L${x} ${y + 1.35 * r}Z` });
    if (kind === "none") return drawn("rect", { class: "dot", x: x - r * 0.9, y: y - r * 0.9, width: 1.8 * r, height: 1.8 * r });
    return drawn("circle", { class: "dot", cx: x, cy: y, r });
  }

  // points: {x?, y, low?, high? (of x), bottom?, top? (of y), kind, special, label, says, target}; without x: in the margin.
  // Returns the chart, each mark with its target, and how many marks found no room for their name.
  function scatter(box, points, { xTitle, yTitle, margin }) {
    const width = Math.max(240, Math.floor(box.clientWidth));
    const height = Math.round(Math.max(270, Math.min(430, width * 0.52)));
    const aside = points.filter((point) => point.x === undefined);
    const strip = aside.length ? Math.min(130, width * 0.27) : 0;
    const [left, right, top, bottom] = [52, width - 8 - strip, 24, height - 44];
    const placed = points.filter((point) => point.x !== undefined);
    const xs = placed.length ? scale(placed.flatMap((p) => [p.x, p.low, p.high]), left, strip ? right - 8 : right) : null;
    const ys = scale(points.flatMap((p) => [p.y, p.bottom, p.top]).filter((y, _, s) => y > 0 || !s.every((v) => v === undefined || v > 0)), bottom, top);
    const label = `${yTitle} against ${xTitle}, ${points.length} models`;
    const svg = drawn("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label });
    for (const [tick, y] of ys.ticks) {
      svg.append(drawn("line", { class: "grid", x1: left, x2: width - 8, y1: y, y2: y }));
      svg.append(drawn("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, tickText(tick)));
    }
    for (const [tick, x] of xs?.ticks ?? []) {
      svg.append(drawn("line", { class: "grid", x1: x, x2: x, y1: top, y2: bottom }));
      svg.append(drawn("text", { x, y: bottom + 17, "text-anchor": "middle" }, tickText(tick)));
    }
    if (strip) {
      svg.append(drawn("rect", { class: "margin", x: right, y: top, width: strip, height: bottom - top }));
      svg.append(drawn("text", { x: right + strip / 2, y: bottom + 17, "text-anchor": "middle" }, margin));
    }
    svg.append(drawn("line", { class: "axis", x1: left, x2: width - 8, y1: bottom, y2: bottom }));
    svg.append(drawn("text", { x: left - 44, y: 12 }, `${yTitle}${ys.log ? ", log scale" : ""}`));
    svg.append(drawn("text", { x: right, y: height - 6, "text-anchor": "end" }, `${xTitle}${xs?.log ? ", log scale" : ""}`));
    const ruler = document.createElement("canvas").getContext("2d");
    ruler.font = `italic 12.5px ${getComputedStyle(box).fontFamily}`; // .label, with room to spare
    const clamp = (y) => Math.max(top, Math.min(bottom, y));
    const spots = points.map((point) => ({ ...point, cx: point.x === undefined ? right + 14 : xs.at(point.x), cy: ys.at(point.y) }));
    spots.sort((a, b) => a.cx - b.cx || a.cy - b.cy);
    const taken = spots.map(({ cx, cy }) => [cx - 7, cy - 7, cx + 7, cy + 7]);
    for (const spot of [...spots.filter((s) => s.special), ...spots.filter((s) => !s.special)]) {
      const wide = ruler.measureText(spot.label).width;
      const beside = spot.special ? 13 : 10; // a ring is wider
      const tries = [[beside, 4, 0], [-beside, 4, -1], [0, -10, -0.5], [0, 19, -0.5], [8, -8, 0], [8, 16, 0], [-8, -8, -1], [-8, 16, -1]];
      for (const [dx, dy, anchor] of tries) {
        const start = spot.cx + dx + anchor * wide;
        const area = [start - 2, spot.cy + dy - 11, start + wide + 2, spot.cy + dy + 3];
        const inside = area[0] > left && area[2] < width + 4 && area[1] > 14 && area[3] < bottom && !(spot.x !== undefined && strip && area[2] > right);
        const free = taken.every((other) => area[2] < other[0] || area[0] > other[2] || area[3] < other[1] || area[1] > other[3]);
        if (!inside || !free) continue;
        taken.push(area);
        spot.text = drawn("text", { class: "label", x: start, y: spot.cy + dy }, spot.label);
        break;
      }
    }
    const marks = spots.map((spot, i) => {
      const { cx, cy } = spot;
      const group = drawn("g", {
        class: `mark-group${spot.special ? " special" : ""}`,
        role: "button",
        tabindex: i ? -1 : 0,
        "aria-haspopup": "dialog",
        "aria-expanded": "false",
        "aria-label": spot.says,
      });
      group.append(drawn("circle", { class: "halo", cx, cy, r: 12 }));
      if (spot.low !== undefined && spot.x !== undefined) group.append(drawn("line", { class: "whisker", x1: xs.at(Math.max(spot.low, xs.log ? xs.low : -Infinity)), x2: xs.at(spot.high), y1: cy, y2: cy }));
      if (spot.bottom !== undefined) group.append(drawn("line", { class: "whisker", x1: cx, x2: cx, y1: clamp(spot.bottom <= 0 && ys.log ? bottom : ys.at(spot.bottom)), y2: clamp(ys.at(spot.top)) }));
      if (spot.kind === "≤") group.append(drawn("line", { class: "whisker", x1: cx - 18, x2: cx, y1: cy, y2: cy }));
      if (spot.kind === "≤y") group.append(drawn("line", { class: "whisker", x1: cx, x2: cx, y1: cy, y2: cy + 18 }));
      if (spot.special) group.append(drawn("circle", { class: "ring", cx, cy, r: 9 }));
      group.append(shape(spot.kind, cx, cy, 5));
      if (spot.text) group.append(spot.text);
      svg.append(group);
      return [group, spot.target];
    });
    return { svg, marks, silent: spots.filter((spot) => !spot.text).length };
  }

  // What one training logged: a heading and a chart for each quantity, over images seen.
  function curves(box, { images, ...series }) {
    const width = Math.floor(box.clientWidth);
    const [height, left, right, top, bottom] = [118, 46, width - 6, 8, 96];
    return Object.entries(series).flatMap(([name, values]) => {
      const [xs, ys] = [scale(images, left, right, 0), scale(values, bottom, top)];
      const label = `${name}: from ${values[0]} to ${values.at(-1)} over ${images.at(-1).toLocaleString("en")} images`;
      const svg = drawn("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
      for (const [tick, y] of ys.ticks) {
        svg.append(drawn("line", { class: "grid", x1: left, x2: right, y1: y, y2: y }));
        svg.append(drawn("text", { x: left - 6, y: y + 4, "text-anchor": "end" }, tickText(tick)));
      }
      const line = images.map((x, i) => `${i ? "L" : "M"}${xs.at(x).toFixed(1)} ${ys.at(values[i]).toFixed(1)}`).join("");
      svg.append(drawn("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }), drawn("path", { class: "line", d: line }));
      svg.append(drawn("text", { x: right, y: bottom + 16, "text-anchor": "end" }, `${tickText(images.at(-1))} images`));
      return [element("h4", {}, `${name}${ys.log ? ", log scale" : ""}`), svg];
    });
  }

  return { element, curves, scatter };
})();
