// What pages do beyond what they do without script: runs that are watched, files
// sent in parts, and small comforts. It needs nothing but the browser.
"use strict";

(() => {
  const root = document.documentElement;
  const base = root.dataset.base || "";
  const words = (document.getElementById("words") || { dataset: {} }).dataset;
  const all = (selector, from = document) => Array.from(from.querySelectorAll(selector));
  const fill = (text, ...values) => (text || "").replace(/\{(\d)\}/g, (_, i) => values[i]);

  // Light and dark: at once here, and kept by the service for the next page.
  for (const form of all("form[data-theme-switch]")) {
    const button = form.querySelector("button[name=theme]");
    const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
    button.value = dark() ? "light" : "dark";
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const theme = dark() ? "light" : "dark";
      root.dataset.theme = theme;
      const meta = document.querySelector("meta[name=color-scheme]");
      if (meta) meta.content = theme;
      button.value = theme === "dark" ? "light" : "dark";
      fetch(form.action, { method: "POST", body: new URLSearchParams({ theme }), redirect: "manual" }).catch(() => {});
    });
  }

  // Menus close when something else is wanted.
  const closeMenus = (but) => all("details.menu[open]").forEach((menu) => { if (!menu.contains(but)) menu.open = false; });
  document.addEventListener("click", (event) => closeMenus(event.target));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const menu = document.querySelector("details.menu[open]");
    if (menu) { menu.open = false; menu.querySelector("summary").focus(); }
  });

  // What is wrong with a form is what the person is here for.
  const problems = document.querySelector("main .notice.bad[role=alert][tabindex]");
  if (problems) problems.focus();

  // A second click is no second wish.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post" || event.defaultPrevented) return;
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = "1";
    setTimeout(() => { delete form.dataset.sent; }, 5000);
  });
  addEventListener("pageshow", () => all("form[data-sent]").forEach((form) => { delete form.dataset.sent; }));

  // Typing a name unlocks what cannot be taken back.
  for (const input of all("input[data-confirm]")) {
    const buttons = all("button:not([type=button]):not([data-anyway])", input.form);
    const judge = () => buttons.forEach((button) => { button.disabled = input.value.trim() !== input.dataset.confirm; });
    input.addEventListener("input", judge);
    addEventListener("pageshow", judge);
    judge();
  }

  // Lists that are here as a whole can be looked through here.
  for (const input of all("input[data-filter]")) {
    const table = document.querySelector(input.dataset.filter);
    if (!table) continue;
    const hidden = input.closest("[hidden]");
    if (hidden) hidden.hidden = false;
    const none = document.createElement("p");
    none.className = "empty";
    none.setAttribute("role", "status");
    none.textContent = words.filterNone;
    none.hidden = true;
    (table.closest(".table") || table).after(none);
    input.addEventListener("input", () => {
      const wish = input.value.trim().toLowerCase();
      let shown = 0;
      for (const row of table.tBodies[0].rows) {
        row.hidden = wish !== "" && !row.textContent.toLowerCase().includes(wish);
        if (!row.hidden) shown++;
      }
      none.hidden = shown > 0;
    });
  }

  // "3 h ago" grows old.
  const spans = (words.spans || "").split(";").map((pair) => pair.split("|"));
  const steps = [[1, 60], [60, 3600], [3600, 172800], [86400, 5184000], [2592000, 63072000], [31536000, Infinity]];
  const skew = words.time ? Date.parse(words.time) - Date.now() : 0;
  const ago = (then) => {
    let seconds = (Date.now() + skew - then) / 1000;
    const form = seconds < 0 ? words.until : words.ago;
    seconds = Math.abs(seconds);
    if (seconds < 10) return words.now;
    const i = steps.findIndex((step) => seconds < step[1]);
    const n = Math.floor(seconds / steps[i][0]);
    return fill(form, n + " " + spans[i][n === 1 ? 0 : 1]);
  };
  const age = () => all("time[data-ago]").forEach((time) => {
    const text = ago(Date.parse(time.dateTime));
    if (text !== time.textContent) time.textContent = text;
  });
  if (spans.length === steps.length) setInterval(age, 20000);

  // A part of the page becomes as it is now; what stays the same stays in place,
  // with the keyboard's focus and the button that is just being pressed.
  const renew = (old, now) => {
    const news = Array.from(now.childNodes);
    let at = old.firstChild;
    news.forEach((next) => {
      while (at && at.nodeName !== next.nodeName && old.childNodes.length > news.length) {
        const gone = at;
        at = at.nextSibling;
        gone.remove();
      }
      if (!at || at.nodeName !== next.nodeName) {
        old.insertBefore(next, at);
        return;
      }
      const same = at;
      at = at.nextSibling;
      if (same.isEqualNode(next)) return;
      if (same.nodeType !== Node.ELEMENT_NODE) { same.data = next.data; return; }
      for (const { name } of Array.from(same.attributes)) if (name !== "data-sent" && !next.hasAttribute(name)) same.removeAttribute(name);
      for (const { name, value } of next.attributes) if (same.getAttribute(name) !== value) same.setAttribute(name, value);
      renew(same, next);
    });
    while (at) { const gone = at; at = at.nextSibling; gone.remove(); }
  };

  // A run that is under way.
  // data-live is where the piece of the page comes from that shows it; a page that
  // only wants to know when it ends has none.
  const watch = (box) => {
    const run = box.dataset.run;
    const own = location.pathname.endsWith("/runs/" + run);
    const live = box.dataset.live || (own ? base + "/runs/" + run + "/live" : "");
    let source, timer, busy = false, again = false, over = false, shown = "";
    const lost = document.createElement("p");
    lost.className = "notice warn lost";
    lost.setAttribute("role", "status");
    box.before(lost);
    lost.hidden = true;
    const say = (text) => { lost.hidden = !text; lost.textContent = text; };
    const later = () => { clearTimeout(timer); timer = setTimeout(look, 3000); };
    const end = () => {
      over = true;
      clearTimeout(timer);
      if (source) source.close();
      location.reload(); // the page of a run that is over has more to say
    };
    async function look() {
      if (over) return;
      if (!live) {
        if (!source || source.readyState === EventSource.CLOSED) listen();
        return;
      }
      if (busy) { again = true; return; }
      busy = true;
      try {
        const answer = await fetch(live, { headers: { Accept: "text/html" } });
        if (answer.redirected || answer.status === 401 || answer.status === 403 || answer.status === 404) return end();
        if (!answer.ok) throw new Error(answer.status);
        const text = await answer.text();
        say("");
        if (text !== shown) {
          shown = text;
          const page = new DOMParser().parseFromString(text, "text/html");
          renew(box, page.body);
          if (box.querySelector("[data-over]")) return end();
        }
        if (!source || source.readyState === EventSource.CLOSED) listen();
      } catch {
        say(words.liveLost);
      } finally {
        busy = false;
      }
      if (again && !over) { again = false; clearTimeout(timer); timer = setTimeout(look, 500); } else if (!over) later();
    }
    function listen() {
      if (!window.EventSource) return;
      source = new EventSource(base + "/api/v1/runs/" + run + "/events");
      let last = 0;
      const heard = () => {
        const wait = Math.max(0, 700 - (Date.now() - last)); // not more often than can be read
        clearTimeout(timer);
        timer = setTimeout(() => { last = Date.now(); look(); }, wait);
      };
      source.addEventListener("run", live ? heard : () => say(""));
      source.addEventListener("end", live ? heard : end);
      source.onerror = () => { if (!live) say(words.liveLost); later(); };
    }
    look();
    addEventListener("pagehide", () => { over = true; if (source) source.close(); });
  };
  all("[data-run]").forEach(watch);

  // Sending files is a script of its own: few pages need it.
  if (document.querySelector("form[data-upload]")) {
    const script = document.createElement("script");
    script.src = words.uploadScript;
    document.head.append(script);
  }
})();
