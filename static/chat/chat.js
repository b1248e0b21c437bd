"use strict";

/* The composer and the socket. htmx sends forms over the socket and puts the fragments it receives into the page. This file
   keeps drafts, ensures that a message is sent only once, and shows the state of the connection. All of its texts come from
   data attributes, which the server translates. */
(() => {
  const byId = (id) => document.getElementById(id);
  const chat = byId("chat");
  const thread = byId("thread");
  const composer = byId("composer");
  const problem = byId("composer-error");
  const words = chat.dataset;
  const input = composer.elements.text;
  const hasKeyboard = matchMedia("(hover: hover) and (pointer: fine)").matches;

  // --- Message ids: the page creates them, so that a message sent twice is stored once. ---

  // crypto.randomUUID needs https, but a site may run on plain http.
  const newId = () => {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  };

  const messageSentAs = (id) => thread.querySelector(`[data-client-id="${CSS.escape(id)}"]`);

  // --- Drafts: kept in this browser per user and conversation, until the server has accepted the message. ---

  const storage = {
    get(key) {
      try {
        return JSON.parse(localStorage.getItem(key));
      } catch {
        return null;
      }
    },
    set(key, value) {
      try {
        if (value) localStorage.setItem(key, JSON.stringify(value));
        else localStorage.removeItem(key);
      } catch {
        // Storage is full or disabled, but the text is still in the box.
      }
    },
  };

  const draftKey = () => `draft:${words.user}:${words.conversation || "new"}`;

  // Another tab may have stored its own draft under the same key.
  const dropDraft = (id) => {
    if (storage.get(draftKey())?.id === id) storage.set(draftKey(), null);
  };

  const saveDraft = () => {
    const id = composer.elements.client_id.value;
    if (input.value) storage.set(draftKey(), { text: input.value, id });
    else dropDraft(id);
  };

  /** Move a guest's drafts to the account that the guest now has. */
  const claimGuestDrafts = () => {
    if (!words.guestId) return;
    try {
      for (const key of Object.keys(localStorage)) {
        if (!key.startsWith(`draft:${words.guestId}:`)) continue;
        localStorage.setItem(key.replace(words.guestId, words.user), localStorage.getItem(key));
        localStorage.removeItem(key);
      }
    } catch {
      // Without storage there are no drafts.
    }
  };

  const restoreDraft = () => {
    const draft = storage.get(draftKey());
    if (input.value) {
      saveDraft(); // The server refused this text and gave it back.
    } else if (draft?.text && draft.id && !messageSentAs(draft.id)) {
      input.value = draft.text;
      composer.elements.client_id.value = draft.id;
    } else {
      if (draft?.id && messageSentAs(draft.id)) dropDraft(draft.id);
      composer.elements.client_id.value = newId();
    }
  };

  // --- The composer ---

  const maxChars = Number(composer.dataset.maxChars) || Infinity;
  let sending = ""; // the id of the message being sent
  let slow = 0; // the timer that shows "Sending…" after a noticeable delay
  let overdue = 0; // the timer that gives up waiting

  const say = (text) => {
    const line = document.createElement("span");
    line.textContent = text;
    problem.replaceChildren(...(text ? [line] : []));
  };

  const unsay = (text) => {
    if (problem.textContent.trim() === text) say("");
  };

  // The server counts Unicode code points, but a JavaScript string counts some of them twice.
  const countCharacters = () => (input.value.length < maxChars / 2 ? input.value.length : Array.from(input.value).length);

  const refresh = () => {
    const count = countCharacters();
    const isTooLong = count > maxChars;
    const [now, limit] = [count, maxChars].map((number) => number.toLocaleString(document.documentElement.lang));
    const counter = byId("composer-count");
    counter.textContent = count < maxChars * 0.8 ? "" : `${now} / ${limit}`;
    counter.classList.toggle("composer__count--over", isTooLong);
    input.setAttribute("aria-invalid", String(isTooLong));
    composer.querySelector(".composer__send").disabled = isTooLong || Boolean(sending) || !input.value.trim();
    if (isTooLong && !problem.firstElementChild) say(words.textTooLong);
    if (!CSS.supports("field-sizing", "content")) {
      input.style.blockSize = "auto";
      input.style.blockSize = `${input.scrollHeight}px`;
    }
  };

  const setSending = (id) => {
    const state = byId("composer-state");
    const tell = (text) => {
      state.textContent = text;
      composer.classList.toggle("composer--sending", Boolean(text));
    };
    sending = id;
    clearTimeout(slow);
    clearTimeout(overdue);
    if (id) slow = setTimeout(tell, 300, state.dataset.sending);
    else tell("");
    if (id && isReady) overdue = setTimeout(giveUp, 15_000, words.textNoReply);
    refresh();
  };

  /** Stop trying to send. The text and its id stay in the composer. */
  const giveUp = (text) => {
    waiting.delete(composer);
    setSending("");
    if (text) say(text);
  };

  const accept = (message) => {
    // Text that was typed in the meantime belongs to the next message.
    const isUnchanged = message.querySelector(".message__text").textContent.trim() === input.value.trim();
    dropDraft(sending);
    if (isUnchanged) input.value = "";
    composer.elements.client_id.value = newId();
    saveDraft();
    say("");
    setSending("");
    chat.dispatchEvent(new CustomEvent("chat:accepted"));
  };

  // No answer is being written any more, so the next message can be sent.
  chat.addEventListener("chat:idle", () => unsay(words.textBusy));

  input.addEventListener("input", () => {
    say("");
    saveDraft();
    refresh();
  });

  input.addEventListener("keydown", (event) => {
    // Enter may confirm a choice in an input method, which Safari reveals only by the key code.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    // Without a keyboard Enter starts a new line, as in other mobile apps, and the button sends.
    if (matchMedia("(hover: none) and (pointer: coarse)").matches) return;
    event.preventDefault();
    composer.requestSubmit();
  });

  new MutationObserver(() => {
    const message = sending && messageSentAs(sending);
    if (message) accept(message);
  }).observe(thread, { childList: true });

  // A refusal carries the id of the message it is about.
  new MutationObserver(() => {
    if (sending && problem.querySelector(`[data-client-id="${sending}"]`)) giveUp("");
    if (problem.firstElementChild && hasKeyboard) input.focus({ preventScroll: true });
  }).observe(problem, { childList: true });

  // A new chat gets its URL and its title, and its draft moves to the new conversation.
  new MutationObserver(() => {
    const shown = byId("location").firstElementChild?.dataset;
    if (!shown) return;
    history.replaceState(history.state, "", shown.url);
    document.title = words.titlePattern.replace("{title}", () => shown.title);
    byId("title").textContent = shown.title;
    byId("title-menu").hidden = false;
    dropDraft(composer.elements.client_id.value);
    words.conversation = composer.elements.conversation.value;
    saveDraft();
  }).observe(byId("location"), { childList: true });

  // --- Forms: checks that run before htmx, which listens on the form itself. ---

  let isReady = false; // The socket is open, and the server has this page's cursor.
  let isOverLimit = false; // The server refused the last socket, because the user has too many pages open.
  let closed = ""; // Why the socket will not reopen.
  const waiting = new Set();

  /** Return why the message can't be sent now, or null if it can. An empty string means: don't send, and show nothing. */
  const objection = () => {
    if (sending || !input.value.trim()) return "";
    if (countCharacters() > maxChars) return words.textTooLong;
    return thread.querySelector(".open") ? words.textBusy : null;
  };

  document.addEventListener("submit", (event) => {
    const form = event.target;
    const refuse = () => {
      event.preventDefault();
      event.stopImmediatePropagation();
    };
    if (!form.hasAttribute("hx-ws:send") || !window.htmx) return;
    const id = form.elements.client_id;
    if (id && (!id.value || messageSentAs(id.value))) id.value = newId();
    if (form === composer) {
      const reason = objection();
      if (reason !== null) {
        refuse();
        say(reason);
        return;
      }
      say("");
      saveDraft();
      setSending(id.value);
    }
    if (isReady) return;
    if (closed === words.textSignedOut) {
      refuse(); // Signing in would lose the posted text, but the draft keeps it.
      giveUp(closed);
    } else if (isOverLimit && form === composer) {
      refuse(); // It may take long until another page closes, so the user decides when to send the text.
      giveUp(words.textNotSent);
    } else if (closed) {
      event.stopImmediatePropagation(); // The browser then posts the form, as it does without script.
    } else {
      refuse();
      waiting.add(form);
    }
  }, true);

  // --- The socket ---

  const ACK_BYTES = 32 * 1024;
  const encoder = new TextEncoder();
  let received = 0;
  let acknowledged = 0;
  let pieces = ""; // the pieces received so far of a frame that was split
  let isLeaving = false;
  let bannerTimer = 0;
  let admission = 0; // the timer after which a socket counts as admitted

  const showBanner = (text, linkText = "", href = "") => {
    const banner = byId("connection");
    clearTimeout(bannerTimer);
    banner.hidden = !text;
    banner.textContent = text;
    if (!linkText) return;
    const link = document.createElement("a");
    link.textContent = linkText;
    link.href = href;
    banner.append(" ", link);
  };

  chat.addEventListener("htmx:ws:after:connection", () => {
    received = acknowledged = 0;
  });

  /** Submit the forms that waited, including a message that got no reply: its id ensures that it is stored once. */
  const begin = () => {
    isReady = true;
    isOverLimit = false;
    showBanner("");
    unsay(words.textNotSent);
    if (sending) waiting.add(composer);
    setSending("");
    const forms = [...waiting];
    waiting.clear();
    for (const form of forms) if (form.isConnected) form.requestSubmit();
  };

  chat.addEventListener("htmx:ws:after:message:outgoing", (event) => {
    if (event.target.id !== "attach") return;
    // The server now knows what this page shows. It closes a socket over the limit at once.
    if (isOverLimit) admission = setTimeout(begin, 1_000);
    else begin();
  });

  // The server stops sending if the page doesn't acknowledge what it has received.
  const acknowledge = () => {
    if (received - acknowledged < ACK_BYTES) return;
    acknowledged = received;
    const ack = byId("ack");
    ack.elements.received.value = received;
    ack.requestSubmit();
  };

  // A long frame arrives in pieces, each with a prefix: "(" for the first, "+" for the middle ones, ")" for the last.
  chat.addEventListener("htmx:ws:before:message:incoming", (event) => {
    const { message } = event.detail;
    const mark = message.data[0];
    received += encoder.encode(message.data).length;
    if (mark === "(" || mark === "+") {
      pieces = (mark === "(" ? "" : pieces) + message.data.slice(1);
      event.preventDefault();
      acknowledge();
    } else if (mark === ")") {
      message.data = pieces + message.data.slice(1);
      pieces = "";
    }
  });

  chat.addEventListener("htmx:ws:after:message:incoming", acknowledge);

  chat.addEventListener("htmx:ws:close", ({ detail: { code, connection } }) => {
    isReady = false;
    clearTimeout(overdue);
    clearTimeout(admission);
    if (isLeaving) return;
    if (code === 4429) {
      isOverLimit = true;
      connection.attempt = 10; // Each socket opens before it is refused, so htmx would try again too soon.
      giveUp(sending ? words.textNotSent : "");
      showBanner(words.textTooMany);
      return;
    }
    if (connection.config.reconnectCodes.includes(code)) {
      if (code === 1009 || code === 4413) giveUp(words.textTooLarge); // Resending it would close the next connection too.
      clearTimeout(bannerTimer);
      // Most connections recover before anyone could read a message about it.
      bannerTimer = setTimeout(showBanner, 600, words.textLost);
      return;
    }
    if (code === 4423) {
      location.reload(); // The new page says why, and until when.
    } else if (code === 4401) {
      closed = words.textSignedOut;
      showBanner(closed, words.textLogIn, `${words.loginUrl}?next=${encodeURIComponent(location.pathname)}`);
    } else {
      closed = code === 4403 ? words.textForbidden : words.textClosed;
      showBanner(closed, words.textReload, location.pathname);
    }
    giveUp("");
  });

  addEventListener("pagehide", () => {
    isLeaving = true;
  });

  // htmx closes the socket when the user leaves the page, so a page restored from the browser's cache has to reload.
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });

  claimGuestDrafts();
  restoreDraft();
  refresh();
  if (hasKeyboard) input.focus({ preventScroll: true });
})();
