// What the figures with curves share: elements, sliders, buttons, a legend and a plot as SVG.

// An element with its attributes and children; the names of SVG make SVG elements.
function made(tag, attributes, ...children) {
  const drawn = ["svg", "g", "path", "line", "rect", "circle", "text"].includes(tag);
  const element = drawn
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const name in attributes) element.setAttribute(name, attributes[name]);
  element.append(...children);
  return element;
}

// A number with a real minus, and no minus before 0.00.
function shown(value, digits = 2) {
  const text = Math.abs(value).toFixed(digits);
  return (value < 0 && Number(text) > 0 ? "−" : "") + text;
}

// A labeled range input. `text` makes its label from a value. The result sets the value.
function slider(parent, { min, max, step, text }, change) {
  const label = made("span", {});
  const input = made("input", { type: "range", min, max, step });
  input.setAttribute("data-lm-suppress-shortcuts", "true"); // else JupyterLab takes the arrow keys
  input.addEventListener("input", function () {
    change(Number(input.value));
  });
  parent.append(made("label", {}, label, input));
  return function (value) {
    input.value = value;
    label.textContent = text(value);
  };
}

function button(parent, name, press) {
  const element = made("button", { type: "button" }, name);
  element.addEventListener("click", press);
  parent.append(element);
  return element;
}

// One sample of each style and its name: styles are attributes of an SVG path.
function legend(styles) {
  return made("p", { class: "legend" }, ...Object.entries(styles).map(function ([name, style]) {
    const sample = made("svg", { viewBox: "0 0 28 12", "aria-hidden": "true" },
      made("path", { d: style.fill ? "M0,12V2H28V12" : "M0,6H28", fill: "none", ...style }));
    return made("span", {}, sample, name);
  }));
}

// Round numbers from low to high, at most so many.
function ticks(low, high, most) {
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => power * factor >= rough);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) {
    found.push(Number((i * step).toPrecision(6)));
  }
  return found;
}

// Axes around an area whose elements stand in pixels: `x` and `y` turn data into pixels.
function plot({ height, left = 42, x, y, xticks, yticks, xlabel, ylabel }) {
  const width = 360, right = 10, top = 8, bottom = 36;
  const across = width - left - right, up = height - top - bottom;
  const toX = (value) => (across * (value - x[0])) / (x[1] - x[0]);
  const toY = (value) => (up * (y[1] - value)) / (y[1] - y[0]);
  const area = made("svg", { x: left, y: top, width: across, height: up });
  const svg = made("svg", { viewBox: "0 0 " + width + " " + height, role: "img" }, area);
  const line = { stroke: "currentColor", "stroke-width": 1, fill: "none" };
  svg.append(made("path", { ...line, d: "M" + left + "," + top + "v" + up + "h" + across }));
  for (const tick of xticks) {
    const at = left + toX(tick);
    svg.append(made("path", { ...line, d: "M" + at + "," + (top + up) + "v4" }));
    svg.append(made("text", { x: at, y: top + up + 17, "text-anchor": "middle" },
      String(tick).replace("-", "−")));
  }
  for (const tick of yticks) {
    const at = top + toY(tick);
    svg.append(made("path", { ...line, d: "M" + left + "," + at + "h-4" }));
    svg.append(made("text", { x: left - 7, y: at + 4, "text-anchor": "end" },
      String(tick).replace("-", "−")));
  }
  svg.append(made("text", { "text-anchor": "middle", x: left + across / 2, y: height - 4 },
    xlabel));
  if (ylabel) {
    svg.append(made("text", { "text-anchor": "middle",
      transform: "translate(11," + (top + up / 2) + ") rotate(-90)" }, ylabel));
  }
  // A path through points in data; closed to the bottom if it is filled.
  function curve(style) {
    const path = made("path", { fill: "none", "stroke-width": 2, ...style });
    area.append(path);
    return function (xs, ys) {
      const points = xs.map((v, i) => toX(v).toFixed(1) + "," + toY(ys[i]).toFixed(1)).join("L");
      path.setAttribute("d", "M" + points + (style.fill ? "V" + up + "H" + toX(xs[0]) + "Z" : ""));
    };
  }
  return { svg, area, curve, x: toX, y: toY };
}

// The figures of a kind that no copy of their script has woken yet, each with its numbers.
function wake(kind, build) {
  const asleep = ".live-figure." + kind + ":not([data-live])";
  document.querySelectorAll(asleep).forEach(function (figure) {
    const parts = build(JSON.parse(figure.querySelector("script").textContent), figure);
    figure.querySelector(".try").hidden = false;
    figure.prepend(...parts);
    figure.dataset.live = "";
  });
}
