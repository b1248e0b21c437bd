// The review pages: extends a claim while the reviewer works, inserts prepared replies and pauses polling while the page
// is hidden.
(() => {
  "use strict";

  const MINUTE = 60_000;
  const language = document.documentElement.lang || "en";

  // --- Polling ---

  document.addEventListener("htmx:before:request", (event) => {
    if (event.target.closest?.("[data-poll]") && document.hidden) event.preventDefault();
  });

  document.addEventListener("htmx:before:response", (event) => {
    // A redirect means that the session has ended. Don't insert the sign-in page into this one.
    const { raw, status } = event.detail.ctx.response;
    if (raw.redirected || status === 403 || status >= 500) event.preventDefault();
  });

  // --- The claim ---

  const claim = document.getElementById("claim");
  if (claim) keep(claim);

  function keep(panel) {
    const left = panel.querySelector("[data-left]");
    const clock = panel.querySelector("[data-clock]");
    const ended = panel.querySelector("[data-ended]");
    const words = new Intl.RelativeTimeFormat(language, { numeric: "always" });
    const hours = new Intl.DateTimeFormat(language, { hour: "numeric", minute: "2-digit" });
    let until = Date.parse(panel.dataset.until);
    let asked = Date.now();
    let isOver = false;

    const show = () => {
      const rest = until - Date.now();
      if (rest <= 0) return end();
      left.textContent =
        rest < MINUTE
          ? words.format(Math.max(1, Math.floor(rest / 1_000)), "second")
          : words.format(Math.floor(rest / MINUTE), "minute");
    };

    const end = () => {
      if (isOver) return;
      isOver = true;
      clearInterval(timer);
      ended.textContent = ended.dataset.text;
    };

    const extend = async () => {
      if (isOver || Date.now() - asked < MINUTE) return;
      asked = Date.now();
      const token = document.querySelector("[name=csrfmiddlewaretoken]").value;
      try {
        const response = await fetch(panel.dataset.extend, {
          method: "POST",
          headers: { "X-CSRFToken": token },
          redirect: "error",
        });
        if (response.status === 409) return end();
        if (!response.ok) return;
        until = Date.parse((await response.json()).until);
        clock.textContent = hours.format(until);
        show();
      } catch {
        // No network: the countdown continues, and the next activity tries again.
      }
    };

    const timer = setInterval(show, 10_000);
    show();
    for (const name of ["input", "keydown", "pointerdown", "wheel", "scroll"]) {
      document.addEventListener(name, extend, { passive: true, capture: true });
    }
  }

  // --- Prepared replies: offer those that match the outcome, and keep any text already typed ---

  for (const form of document.querySelectorAll(".decision")) offer(form);

  function offer(form) {
    const preset = form.elements.preset;
    const reply = form.elements.reply;
    if (!preset || !reply) return;
    let put = "";

    const fit = () => {
      const outcome = form.elements.outcome.value;
      for (const option of preset.querySelectorAll("option[data-outcome]")) {
        const fits = !outcome || !option.dataset.outcome || option.dataset.outcome === outcome;
        option.hidden = option.disabled = !fits;
        const group = option.closest("optgroup");
        if (group) group.hidden = !fits;
        if (!fits && option.selected) {
          preset.value = "";
          if (reply.value === put) reply.value = "";
        }
      }
    };

    form.addEventListener("change", (event) => {
      if (event.target.name === "outcome") fit();
      if (event.target !== preset) return;
      const text = preset.selectedOptions[0]?.dataset.text ?? "";
      if (reply.value.trim() && reply.value !== put) reply.value = `${reply.value.trimEnd()}\n\n${text}`.trimEnd();
      else reply.value = text;
      put = reply.value;
      reply.dispatchEvent(new Event("input", { bubbles: true }));
    });
    fit();
  }

  // --- Code blocks ---

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    const code = button?.closest(".code")?.querySelector("pre");
    if (!code) return;
    try {
      await navigator.clipboard.writeText(code.textContent.replace(/\n$/, ""));
      button.classList.add("is-copied");
      setTimeout(() => button.classList.remove("is-copied"), 2_000);
    } catch {
      getSelection().selectAllChildren(code);
    }
  });

  // Move focus to the error so that screen readers read it first.
  document.querySelector(".case > .errornote")?.focus();
})();
