// The divider: dragged by pointer or finger anywhere on the picture, moved by keys when it has the focus.

const STEPS = { ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2, PageDown: -10, PageUp: 10 };

export function setUpDivider(divider, box, moved) {
  let percent = 50;

  const moveTo = (value) => {
    percent = Math.min(100, Math.max(0, value));
    const raw = Math.round(percent);
    box.style.setProperty("--split", `${percent}%`);
    divider.setAttribute("aria-valuenow", raw);
    divider.setAttribute("aria-valuetext", `Raw ${raw} percent, sharp ${100 - raw} percent`);
    moved(percent / 100);
  };

  const follow = (event) => {
    const { left, width } = box.getBoundingClientRect();
    moveTo((100 * (event.clientX - left)) / width);
  };

  box.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.target.closest("button, a")) return;
    box.setPointerCapture(event.pointerId);
    follow(event);
  });
  box.addEventListener("pointermove", (event) => {
    if (box.hasPointerCapture(event.pointerId)) follow(event);
  });

  divider.addEventListener("keydown", (event) => {
    const value = event.key === "Home" ? 0 : event.key === "End" ? 100 : percent + (STEPS[event.key] ?? NaN);
    if (Number.isNaN(value)) return;
    event.preventDefault();
    moveTo(value);
  });
}
