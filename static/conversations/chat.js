"use strict";

/* The composer and the socket. htmx carries forms to the socket and fragments from it into the page; this file sees to it
   that no draft is lost, that one message is sent once, and that a person learns how the connection is. Every text that it
   shows comes from data attributes, translated by the server. */
(() => {
  const byId = (id) => document.getElementById(id);
  const chat = byId("chat");
  const thread = byId("thread");
  const composer = byId("composer");
  const problem = byId("composer-error");
  const words = chat.dataset;
  const input = composer.elements.text;
  const hasKeyboard = matchMedia("(hover: hover) and (pointer: fine)").matches;

  // --- Identity: the page names each message, so that sending it twice is still one message. ---

  // crypto.randomUUID exists on https only, and a house may run this on plain http.
  const newId = () => {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  };

  const messageSentAs = (id) => thread.querySelector(`[data-client-id="${CSS.escape(id)}"]`);

  // --- The draft: kept in this browser, by person and conversation, until the server has taken the message. ---

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
        // Storage is full or switched off; the text is still in the box.
      }
    },
  };

  const draftKey = () => `draft:${words.user}:${words.conversation || "new"}`;

  // Another tab may keep a draft of its own in the same place.
  const dropDraft = (id) => {
    if (storage.get(draftKey())?.id === id) storage.set(draftKey(), null);
  };

  const saveDraft = () => {
    const id = composer.elements.client_id.value;
    if (input.value) storage.set(draftKey(), { text: input.value, id });
    else dropDraft(id);
  };

  /** What was typed as a guest belongs to the account that the guest has now. */
  const adoptDrafts = () => {
    if (!words.adopted) return;
    try {
      for (const key of Object.keys(localStorage)) {
        if (!key.startsWith(`draft:${words.adopted}:`)) continue;
        localStorage.setItem(key.replace(words.adopted, words.user), localStorage.getItem(key));
        localStorage.removeItem(key);
      }
    } catch {
      // Where there is no storage there are no drafts.
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
  let sending = ""; // the id of the message that is on its way
  let slow = 0; // tells that a message is on its way, once that takes long enough to notice
  let overdue = 0; // ends the wait

  const say = (text) => {
    const line = document.createElement("span");
    line.textContent = text;
    problem.replaceChildren(...(text ? [line] : []));
  };

  // The server counts characters as Unicode does; a string here counts some of them twice.
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

  /** End the attempt without a message. The text stays, and so does its id. */
  const giveUp = (text) => {
    waiting.delete(composer);
    setSending("");
    if (text) say(text);
  };

  const accept = (message) => {
    // What was typed meanwhile is the beginning of the next message.
    const isUnchanged = message.querySelector(".message__text").textContent.trim() === input.value.trim();
    dropDraft(sending);
    if (isUnchanged) input.value = "";
    composer.elements.client_id.value = newId();
    saveDraft();
    say("");
    setSending("");
    chat.dispatchEvent(new CustomEvent("chat:accepted"));
  };

  input.addEventListener("input", () => {
    say("");
    saveDraft();
    refresh();
  });

  input.addEventListener("keydown", (event) => {
    // Enter that ends the choice of a character belongs to the input method; Safari tells that by the key code alone.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    // Where there is no keyboard Enter begins a new line, as in other apps there, and the button sends.
    if (matchMedia("(hover: none) and (pointer: coarse)").matches) return;
    event.preventDefault();
    composer.requestSubmit();
  });

  new MutationObserver(() => {
    const message = sending && messageSentAs(sending);
    if (message) accept(message);
  }).observe(thread, { childList: true });

  // A refusal names the message that it is about.
  new MutationObserver(() => {
    if (sending && problem.querySelector(`[data-client-id="${sending}"]`)) giveUp("");
    if (problem.firstElementChild && hasKeyboard) input.focus({ preventScroll: true });
  }).observe(problem, { childList: true });

  // A chat that has just begun gets its address and its title, and its draft moves along.
  new MutationObserver(() => {
    const place = byId("location").firstElementChild?.dataset;
    if (!place) return;
    history.replaceState(history.state, "", place.url);
    document.title = words.titlePattern.replace("{title}", () => place.title);
    byId("title").textContent = place.title;
    byId("title-menu").hidden = false;
    dropDraft(composer.elements.client_id.value);
    words.conversation = composer.elements.conversation.value;
    saveDraft();
  }).observe(byId("location"), { childList: true });

  // --- Forms: what has to be right before htmx, which listens on the form itself, takes them. ---

  let isReady = false; // The socket is open, and the server knows where this page stands.
  let closed = ""; // Why the socket is gone for good.
  const waiting = new Set();

  /** Say why this can't be sent now, if there is a reason; "" is a reason without words. */
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
      refuse(); // The log-in would drop what is posted; the draft keeps it.
      giveUp(closed);
    } else if (closed) {
      event.stopImmediatePropagation(); // The browser posts the form, as it does without script.
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
  let isLeaving = false;
  let bannerTimer = 0;

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

  chat.addEventListener("htmx:ws:after:message:outgoing", (event) => {
    if (event.target.id !== "attach") return;
    // Only now does the server know what this page holds. What was pressed meanwhile goes out, and so does a message that
    // no answer came to: its id makes sure that it is taken once.
    isReady = true;
    showBanner("");
    if (sending) waiting.add(composer);
    setSending("");
    const forms = [...waiting];
    waiting.clear();
    for (const form of forms) if (form.isConnected) form.requestSubmit();
  });

  chat.addEventListener("htmx:ws:before:message:incoming", (event) => {
    received += encoder.encode(event.detail.message.data).length;
  });

  // The server stops sending when it does not hear that what it sent has arrived.
  chat.addEventListener("htmx:ws:after:message:incoming", () => {
    if (received - acknowledged < ACK_BYTES) return;
    acknowledged = received;
    const ack = byId("ack");
    ack.elements.received.value = received;
    ack.requestSubmit();
  });

  chat.addEventListener("htmx:ws:close", ({ detail: { code, connection } }) => {
    isReady = false;
    clearTimeout(overdue);
    if (isLeaving) return;
    if (connection.config.reconnectCodes.includes(code)) {
      if (code === 1009) giveUp(words.textTooLarge); // Sent again, it would break the next connection too.
      clearTimeout(bannerTimer);
      // Most breaks heal sooner than one could read about them.
      bannerTimer = setTimeout(showBanner, 600, words.textLost);
      return;
    }
    if (code === 4423) {
      location.reload(); // The page that comes says why, and until when.
    } else if (code === 4401) {
      closed = words.textSignedOut;
      showBanner(closed, words.textLogIn, `${words.loginUrl}?next=${encodeURIComponent(location.pathname)}`);
    } else {
      closed = { 4403: words.textForbidden, 4429: words.textTooMany }[code] ?? words.textClosed;
      showBanner(closed, words.textReload, location.pathname);
    }
    giveUp("");
  });

  addEventListener("pagehide", () => {
    isLeaving = true;
  });

  // htmx closes the socket when the page is left, so one brought back from the browser's memory begins anew.
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });

  adoptDrafts();
  restoreDraft();
  refresh();
  if (hasKeyboard) input.focus({ preventScroll: true });
})();
