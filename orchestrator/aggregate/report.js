"use strict";
// Sorting, the trials behind a number, and crops that flip. The page is whole without any of it.

// ---- tables that sort: up, down, and back to the order of the file; holes stay last
const sortKey = (cell) => {
  const text = cell.dataset.v ?? cell.firstChild?.textContent.trim() ?? "";
  if (!text || text === "–") return null;
  const number = Number.parseFloat(text.replace("−", "-").replace("<", "").replace(/,/g, ""));
  return cell.classList.contains("n") && !Number.isNaN(number) ? number : text;
};
const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));

function sortBy(table, column, order) {
  const body = table.tBodies[0];
  table.original ??= [...body.rows];
  const rows = table.original.map((row) => [sortKey(row.cells[column]), row]);
  const sign = order === "descending" ? -1 : 1;
  if (order !== "none")
    rows.sort(([a], [b]) => (a === null) - (b === null) || (a === null ? 0 : sign * compare(a, b)));
  body.append(...rows.map(([, row]) => row));
}

const NEXT = { none: "ascending", ascending: "descending", descending: "none" };
for (const table of document.querySelectorAll("table.sorts"))
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(head.firstChild);
    head.prepend(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const order = NEXT[head.getAttribute("aria-sort")];
      for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", order);
      sortBy(table, column, order);
    });
  });

// ---- the trials behind a number
const data = JSON.parse(document.getElementById("trial-data").textContent);
const dialog = document.getElementById("trials");
const MOST = 300;

const positions = (ranges) =>
  ranges.split(" ").flatMap((range) => {
    const [first, last = first] = range.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });

function element(tag, text, settings = {}) {
  const made = Object.assign(document.createElement(tag), settings);
  made.textContent = text;
  return made;
}

function trialRow([key, name, kind, status, seconds, device, commit, root, mlflow]) {
  const row = document.createElement("tr");
  const at = data.kinds[kind];
  const record = root < 0 ? element("code", key) : element("a", key, { href: `${data.roots[root]}/${at}/${key}/record.json` });
  const run = mlflow ? element("a", "run", { href: data.mlflow + mlflow }) : element("span", "–");
  const [hash, ...changes] = data.commits[commit].split(" ");
  const code = element("span", [hash.slice(0, 12) || "–", ...changes].join(" "), { title: hash });
  const cells = [name, at.replaceAll("_", " "), data.statuses[status], record, run, code, seconds ?? "–", data.devices[device]];
  cells.forEach((content, i) => {
    const cell = element(i ? "td" : "th", typeof content === "object" ? "" : content);
    if (typeof content === "object") cell.append(content);
    if (!i) cell.scope = "row";
    if (i === 6) cell.className = "n";
    row.append(cell);
  });
  return row;
}

function showTrials(link) {
  const trials = positions(link.dataset.trials).map((i) => data.trials[i]);
  const counts = {};
  for (const [, , kind] of trials) counts[data.kinds[kind]] = (counts[data.kinds[kind]] ?? 0) + 1;
  const kinds = Object.entries(counts).map(([kind, count]) => `${count} ${kind.replaceAll("_", " ")}`);
  const row = link.closest("tr, li, p");
  const name = row?.querySelector("th, h3")?.firstChild?.textContent ?? "";
  const heading = link.closest(".block")?.querySelector("h3") ?? link.closest("section")?.querySelector("h2");
  const column = link.closest("table")?.tHead.rows[0].cells[link.closest("td").cellIndex].firstChild.textContent;
  const said = [name, column === "trials" ? "" : column, heading?.textContent];
  dialog.querySelector("h2").textContent = said.filter(Boolean).join(" – ");
  dialog.querySelector("p").textContent = `${trials.length} trial${trials.length === 1 ? "" : "s"}: ${kinds.join(", ")}`;
  const body = dialog.querySelector("tbody");
  body.replaceChildren(...trials.slice(0, MOST).map(trialRow));
  const more = dialog.querySelector(".more");
  more.hidden = trials.length <= MOST;
  more.textContent = `Show the other ${trials.length - MOST}`;
  more.onclick = () => {
    body.append(...trials.slice(MOST).map(trialRow));
    more.hidden = true;
  };
  dialog.showModal();
  dialog.querySelector(".scroll").scrollTop = 0;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-trials]");
  if (link) {
    event.preventDefault();
    showTrials(link);
  } else if (event.target === dialog || event.target.closest("dialog .close")) dialog.close();
});

// ---- crops that flip between two losses
for (const section of document.querySelectorAll(".crops")) {
  const flipper = section.querySelector(".flipper");
  const [image, row, first, second, zoom] = flipper.querySelectorAll("select");
  const [stage, show] = flipper.querySelectorAll("button");
  const [shown, said] = [flipper.querySelector("img"), flipper.querySelector("output")];
  const crops = [...section.querySelectorAll("img[data-column]")];
  const unique = (values) => [...new Set(values)];
  const rowsOf = () => crops.filter((crop) => crop.dataset.image === image.value);
  const candidates = () => rowsOf().filter((crop) => crop.dataset.row === row.value || crop.dataset.row === flipper.dataset.beside);
  let flipped = false;

  const fill = (select, values, wanted) => {
    select.replaceChildren(...values.map((value) => element("option", value, { value })));
    select.value = values.includes(wanted) ? wanted : values[0];
  };
  const paint = () => {
    const column = flipped ? second.value : first.value;
    const crop = candidates().find((some) => some.dataset.column === column);
    [shown.src, shown.alt] = [crop.src, crop.alt];
    shown.width = crop.getAttribute("width") * zoom.value;
    said.textContent = `${flipped ? "B" : "A"}: ${column}`;
    show.setAttribute("aria-pressed", flipped);
  };
  const flip = (to) => {
    flipped = to;
    paint();
  };
  const refill = () => {
    const rows = unique(rowsOf().map((crop) => crop.dataset.row)).filter((name) => name !== flipper.dataset.beside);
    fill(row, rows.length ? rows : [flipper.dataset.beside], row.value);
    const own = candidates().filter((crop) => crop.dataset.row === row.value).map((crop) => crop.dataset.column);
    const columns = unique([...own, ...candidates().map((crop) => crop.dataset.column)]);
    fill(first, columns, first.value);
    fill(second, columns, second.value || columns[1]);
    flip(false);
  };
  if (!crops.length) continue;
  flipper.hidden = false;
  const room = flipper.clientWidth < 640 ? flipper.clientWidth - 32 : flipper.clientWidth / 2;
  zoom.value = Math.min(3, Math.max(1, Math.floor(room / crops[0].getAttribute("width"))));
  fill(image, unique(crops.map((crop) => crop.dataset.image)));
  refill();
  for (const select of [image, row]) select.addEventListener("change", refill);
  for (const select of [first, second]) select.addEventListener("change", () => flip(select === second));
  zoom.addEventListener("change", paint);
  show.addEventListener("click", () => flip(!flipped));
  stage.addEventListener("pointerdown", () => flip(true));
  for (const end of ["pointerup", "pointerleave", "pointercancel"]) stage.addEventListener(end, () => flip(false));
  stage.addEventListener("contextmenu", (event) => event.preventDefault()); // a long press on a phone
  stage.addEventListener("keydown", (event) => {
    if (event.key === " " || event.key === "Enter") {
      event.preventDefault();
      if (!event.repeat) flip(!flipped);
    }
  });
}
