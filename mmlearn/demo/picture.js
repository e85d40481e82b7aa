// Shows the maps of `picture.py`. What is picked is noted in the page itself (aria-pressed, data-cell), which
// Gradio replaces with each new answer; so nothing of an earlier answer is left.
const find = (name, from) => from.querySelector(name);
const all = (name, from) => Array.from(from.querySelectorAll(name));
const pictureOf = (node) => node.closest(".mm-picture");
const sharesOf = (button) => button.dataset.shares.split(" ").map(Number);
const percent = (share) => `${(share / 10).toFixed(1)} %`;

function say(picture, text) {
  find(".mm-says", picture).textContent = text;
}

function placeOf(index, regions) {
  const columns = Number(regions.dataset.columns);
  return `row ${Math.floor(index / columns) + 1}, column ${(index % columns) + 1}`;
}

function showMap(picture, button) {
  const heat = find(".mm-heat", picture);
  heat.hidden = !button;
  if (!button) return;
  heat.src = button.dataset.heat;
  const shares = sharesOf(button), most = Math.max(...shares);
  const place = placeOf(shares.indexOf(most), find(".mm-regions", picture));
  say(picture, `“${button.textContent}”: most at ${place}, ${percent(most)} of it.`);
}

function showPicked(picture) {
  showMap(picture, find('.mm-pick[aria-pressed="true"]', picture));
}

function pick(picture, button) {
  const was = button && button.getAttribute("aria-pressed") === "true";
  all(".mm-pick", picture).forEach((each) => each.setAttribute("aria-pressed", "false"));
  if (button && !was) button.setAttribute("aria-pressed", "true");
  showPicked(picture);
}

function showRegion(picture, index) {
  const regions = find(".mm-regions", picture), cell = find(".mm-cell", picture);
  cell.hidden = index === null;
  all(".mm-group", picture).forEach((group) => {
    const buttons = all(".mm-pick", group);
    const most = Math.max(1, ...buttons.map((each) => Math.max(...sharesOf(each))));
    buttons.forEach((each) => {
      each.style.setProperty("--share", index === null ? 0 : sharesOf(each)[index] / most);
    });
  });
  if (index === null) return;
  const rows = Number(regions.dataset.rows), columns = Number(regions.dataset.columns);
  cell.style.left = `${(100 * (index % columns)) / columns}%`;
  cell.style.top = `${(100 * Math.floor(index / columns)) / rows}%`;
  cell.style.width = `${100 / columns}%`;
  cell.style.height = `${100 / rows}%`;
  const nearest = all(".mm-group", picture).map((group) =>
    all(".mm-pick", group)
      .map((each) => [sharesOf(each)[index], each.textContent])
      .sort((a, b) => b[0] - a[0])
      .slice(0, 3)
      .map(([share, name]) => `${name} ${percent(share)}`)
      .join(", ")
  );
  say(picture, `Region at ${placeOf(index, regions)} has this share of each map: ${nearest.join("; ")}.`);
}

function regionAt(event) {
  const regions = event.target, box = regions.getBoundingClientRect();
  const at = (place, start, size, count) =>
    Math.min(count - 1, Math.max(0, Math.floor(((place - start) / size) * count)));
  const columns = Number(regions.dataset.columns), rows = Number(regions.dataset.rows);
  return at(event.clientY, box.top, box.height, rows) * columns
    + at(event.clientX, box.left, box.width, columns);
}

function pickedRegion(regions) {
  return regions.dataset.cell === undefined ? null : Number(regions.dataset.cell);
}

function on(name, selector, act) {
  element.addEventListener(name, (event) => {
    const node = event.target.closest(selector);
    if (node) act(pictureOf(node), node, event);
  });
}

for (const name of ["pointerover", "focusin"]) on(name, ".mm-pick", showMap);
for (const name of ["pointerout", "focusout"]) on(name, ".mm-pick", showPicked);
on("click", ".mm-pick", pick);

on("pointermove", ".mm-regions", (picture, regions, event) => showRegion(picture, regionAt(event)));
for (const name of ["pointerout", "focusout"]) {
  on(name, ".mm-regions", (picture, regions) => showRegion(picture, pickedRegion(regions)));
}
on("focusin", ".mm-regions", (picture, regions) => showRegion(picture, pickedRegion(regions) ?? 0));
on("click", ".mm-regions", (picture, regions, event) => {
  regions.dataset.cell = regionAt(event);
  showRegion(picture, regionAt(event));
});
on("keydown", ".mm-picture", (picture, node, event) => {
  if (event.key !== "Escape") return;
  delete find(".mm-regions", picture)?.dataset.cell;
  showRegion(picture, null);
  pick(picture, null);
});
on("keydown", ".mm-regions", (picture, regions, event) => {
  const columns = Number(regions.dataset.columns), rows = Number(regions.dataset.rows);
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const step = steps[event.key];
  if (!step) return;
  event.preventDefault();
  const index = pickedRegion(regions) ?? 0;
  const column = Math.min(columns - 1, Math.max(0, (index % columns) + step[0]));
  const row = Math.min(rows - 1, Math.max(0, Math.floor(index / columns) + step[1]));
  regions.dataset.cell = row * columns + column;
  showRegion(picture, row * columns + column);
});
