// Small helpers for the page's elements.

export const byId = (id) => document.getElementById(id);

/** Make an element with properties and children. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Write a text only where it is another: what has not changed is not read out again. */
export function write(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

/** Let the browser save something. */
export function download(url, name) {
  const link = make("a", { href: url, download: name, hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
}

/** Say something to people who listen; sparingly. */
export function announce(words) {
  write(byId("announce"), words);
}

let noticeTimer = 0;

/** Show a line over the picture for a while, and say it. */
export function notice(words, milliseconds = 6000) {
  const element = byId("notice");
  write(element, words);
  element.hidden = false;
  announce(words);
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => { element.hidden = true; }, milliseconds);
}

export function median(values) {
  if (!values.length) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}
