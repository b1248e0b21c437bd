"use strict";

/* The messages: follow an answer only while the reader is at the end, keep the reading position when earlier messages load,
   count down until an answer can be tried again, and copy the source text. */
(() => {
  const byId = (id) => document.getElementById(id);
  const chat = byId("chat");
  const thread = byId("thread");
  const scroller = byId("scroller");
  const jump = byId("jump");
  const hasKeyboard = matchMedia("(hover: hover) and (pointer: fine)").matches;

  // --- Following ---

  const NEAR = 80; // within this many pixels the reader counts as being at the end
  let isFollowing = true;
  let lastTop = 0;

  const distance = () => scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop;

  const follow = () => {
    isFollowing = true;
    jump.hidden = true;
    scroller.scrollTop = scroller.scrollHeight;
    lastTop = scroller.scrollTop;
  };

  scroller.addEventListener("scroll", () => {
    const top = scroller.scrollTop;
    const away = distance();
    if (away <= 2) isFollowing = true;
    else if (top < lastTop) isFollowing = false; // Scrolling up, even a little, means the reader wants to stay there.
    else if (top > lastTop && away <= NEAR) isFollowing = true;
    lastTop = top;
    jump.hidden = isFollowing || away <= NEAR;
  }, { passive: true });

  jump.addEventListener("click", () => {
    follow();
    if (hasKeyboard) byId("text").focus({ preventScroll: true });
  });

  chat.addEventListener("chat:accepted", follow);

  /** Make boxes that scroll sideways focusable, and leave the others out of the tab order. */
  const makeScrollable = () => {
    for (const box of thread.querySelectorAll(".code pre, .table")) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  };

  // A phone's keyboard, a rotated screen and a growing composer all change the available height.
  new ResizeObserver(() => {
    if (isFollowing) follow();
    makeScrollable();
  }).observe(scroller);

  // --- Changes ---

  let earlier = null; // the reading position when earlier messages were requested
  let wasBusy = Boolean(thread.querySelector(".open"));

  thread.addEventListener("htmx:before:swap", (event) => {
    if (event.target.id !== "earlier-link") return;
    earlier = { distance: distance(), first: thread.querySelector(".message") };
  });

  /** Disable buttons that would be refused, and show on them how long to wait. */
  const countDown = () => {
    for (const button of thread.querySelectorAll("[data-wait-seconds]")) {
      const text = button.textContent;
      const end = Date.now() + 1_000 * button.dataset.waitSeconds;
      delete button.dataset.waitSeconds;
      const show = () => {
        const left = Math.ceil((end - Date.now()) / 1_000);
        const time = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
        button.disabled = left > 0;
        button.textContent = left > 0 ? button.dataset.textWaiting.replace("{time}", time) : text;
        if (left > 0 && button.isConnected) setTimeout(show, 1_000);
      };
      show();
    }
  };

  const finish = () => {
    countDown();
    for (const time of thread.querySelectorAll("time")) time.dataset.seen = "";
    makeScrollable();
  };

  const showEarlier = ({ distance: before, first }) => {
    scroller.scrollTop = scroller.scrollHeight - scroller.clientHeight - before;
    finish();
    if (byId("earlier-link")) return; // htmx has already focused the new link.
    first.tabIndex = -1;
    first.focus({ preventScroll: true });
  };

  const turnChanged = () => {
    for (const message of thread.querySelectorAll("[aria-busy]")) {
      if (!message.querySelector(".open")) message.removeAttribute("aria-busy");
    }
    finish();
    if (!thread.querySelector(".open")) chat.dispatchEvent(new CustomEvent("chat:idle"));
    // The button that had the focus may have been removed.
    const hasLostFocus = document.activeElement === document.body || !document.activeElement.checkVisibility();
    if (hasKeyboard && hasLostFocus) byId("text").focus({ preventScroll: true });
  };

  /** Return whether a change happened in the report form below an answer, which the reader is looking at. */
  const isInReport = ({ target }) => (target.closest ? target : target.parentElement)?.closest(".report-slot");

  new MutationObserver((changes) => {
    if (changes.every(isInReport)) {
      isFollowing = distance() <= 2 && !thread.querySelector("form.report");
      jump.hidden = distance() <= NEAR;
      return;
    }
    if (earlier) {
      showEarlier(earlier);
      earlier = null;
    } else if (isFollowing) {
      follow();
    } else {
      jump.hidden = distance() <= NEAR;
    }
    const isBusy = Boolean(thread.querySelector(".open"));
    // An answer may start and end between two calls, for example if it fails at once.
    if (isBusy !== wasBusy || thread.querySelector("time:not([data-seen])")) turnChanged();
    wasBusy = isBusy;
  }).observe(thread, { childList: true, characterData: true, subtree: true });

  // --- Copying ---

  const copy = async (text) => {
    // The clipboard API needs https.
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "visually-hidden";
    document.body.append(field);
    field.select();
    const isDone = document.execCommand("copy");
    field.remove();
    if (!isDone) throw new Error("The browser did not copy.");
  };

  thread.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const code = button.closest(".code")?.querySelector("pre");
    const source = button.parentElement.querySelector("template[data-source]");
    let word = chat.dataset.textCopied;
    try {
      await copy(code ? code.textContent.replace(/\n$/, "") : source.content.textContent);
      button.classList.add("is-copied");
      setTimeout(() => button.classList.remove("is-copied"), 2_000);
    } catch {
      word = chat.dataset.textNotCopied;
    }
    button.focus({ preventScroll: true });
    byId("announce").textContent = word;
  });

  finish();
  follow();
})();
