// Files that are sent in parts: a form with data-upload has a file's input, and
// data-done is the page to go to then, with __ID__ for the upload.
"use strict";

(() => {
  const root = document.documentElement;
  const base = root.dataset.base || "";
  const words = document.getElementById("words").dataset;
  const fill = (text, ...values) => text.replace(/\{(\d)\}/g, (_, i) => values[i]);

  // A file of any size, in parts; what has arrived is not sent again.
  const send = (form) => {
    const input = form.querySelector("input[type=file]");
    const part = 8 << 20;
    const uploads = base + "/api/v1/uploads";
    const bar = document.createElement("progress");
    const line = document.createElement("p");
    line.setAttribute("role", "status");
    const stop = document.createElement("button");
    stop.type = "button";
    stop.textContent = words.cancel;
    bar.setAttribute("aria-label", input.labels[0] ? input.labels[0].textContent : "");
    const box = document.createElement("div");
    box.append(bar, line, stop);
    box.hidden = true;
    form.append(box);
    let control = null;
    stop.addEventListener("click", () => control && control.abort());
    const size = (n) => {
      const units = (words.units || "B kB MB GB TB PB EB").split(" ");
      let i = 0;
      while (n >= 999.5 && i < units.length - 1) { n /= 1000; i++; }
      return n.toLocaleString(root.lang, { maximumFractionDigits: i && n < 99.95 ? 1 : 0 }) + " " + units[i];
    };
    const wait = (ms) => new Promise((done, fail) => {
      const timer = setTimeout(done, ms);
      control.signal.addEventListener("abort", () => { clearTimeout(timer); fail(new DOMException("", "AbortError")); });
    });
    const complaint = async (answer) => {
      const body = await answer.json().catch(() => ({}));
      const problem = new Error((body.error || {}).message || answer.statusText);
      problem.final = answer.status < 500 && answer.status !== 409 && answer.status !== 429;
      return problem;
    };
    const received = async (id) => {
      const answer = await fetch(uploads + "/" + id, { method: "HEAD", signal: control.signal });
      return answer.ok ? Number(answer.headers.get("Upload-Offset")) : -1;
    };
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const file = input.files[0];
      if (!file) { box.hidden = false; line.textContent = words.uploadChoose; return; }
      if (control) return;
      control = new AbortController();
      const key = "upload " + file.name + " " + file.size + " " + file.lastModified;
      let id = /^[0-9a-f]{32}$/.test(localStorage.getItem(key)) ? localStorage.getItem(key) : "", offset = -1, tries = 0;
      box.hidden = stop.hidden = false;
      bar.max = file.size || 1;
      const leave = (event) => event.preventDefault();
      addEventListener("beforeunload", leave);
      try {
        for (;;) {
          try {
            if (id) offset = await received(id);
            if (offset < 0) {
              const answer = await fetch(uploads, { method: "POST", signal: control.signal, headers: { "Content-Type": "application/json" }, body: JSON.stringify({ name: file.name, size: file.size }) });
              if (!answer.ok) throw await complaint(answer);
              id = (await answer.json()).upload.id;
              offset = 0;
              localStorage.setItem(key, id);
            } else if (offset > 0 && tries === 0) {
              line.textContent = words.uploadResumed;
            }
            while (offset < file.size) {
              bar.value = offset;
              const answer = await fetch(uploads + "/" + id, {
                method: "PATCH", signal: control.signal, body: file.slice(offset, offset + part),
                headers: { "Content-Type": "application/offset+octet-stream", "Upload-Offset": String(offset) },
              });
              if (!answer.ok) throw await complaint(answer);
              const at = Number(answer.headers.get("Upload-Offset"));
              offset = at > offset ? at : Math.min(offset + part, file.size);
              tries = 0;
              line.textContent = fill(words.uploadProgress, size(offset), size(file.size));
            }
            break;
          } catch (problem) {
            if (problem.name === "AbortError" || problem.final || tries++ > 100) throw problem;
            line.textContent = words.uploadRetry;
            await wait(Math.min(1000 * tries, 10000));
          }
        }
        bar.value = bar.max;
        line.textContent = words.uploadDone;
        localStorage.removeItem(key);
        removeEventListener("beforeunload", leave);
        location.assign((form.dataset.done || location.pathname).replace(/__ID__/g, encodeURIComponent(id)));
      } catch (problem) {
        const cancelled = problem.name === "AbortError";
        if (cancelled && id) {
          localStorage.removeItem(key);
          fetch(uploads + "/" + id, { method: "DELETE" }).catch(() => {});
        }
        line.textContent = cancelled ? words.uploadCancelled : fill(words.uploadFailed, problem.message);
        stop.hidden = true;
        removeEventListener("beforeunload", leave);
      } finally {
        control = null;
      }
    });
  };
  document.querySelectorAll("form[data-upload]").forEach(send);
})();
