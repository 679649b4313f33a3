// ---- small things ----

const $ = (id) => document.getElementById(id);

// A new element: attributes, then children (text becomes a text node, never markup).
function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
        if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
        else if (value !== false && value != null) element.setAttribute(name, value === true ? '' : value);
    }
    element.append(...children);
    return element;
}

// One of our own drawings, by its path.
function drawing(path) {
    const space = 'http://www.w3.org/2000/svg';
    const svg = document.createElementNS(space, 'svg');
    svg.setAttribute('viewBox', '0 0 24 24');
    svg.setAttribute('aria-hidden', 'true');
    const line = document.createElementNS(space, 'path');
    line.setAttribute('d', path);
    svg.append(line);
    return svg;
}
const kArrowUp = 'M12 19V5M6 11l6-6 6 6', kSquare = 'M7 7h10v10H7z', kChevron = 'M9 6l6 6-6 6',
      kCross = 'M6 6l12 12M18 6L6 18', kPrompt = 'M5 7l5 5-5 5M13 17h6';

const counted = new Intl.NumberFormat('en');
const number = (n) => counted.format(n);
const shortNumber = (n) => n < 10000 ? number(n) : n < 999500 ? `${(n / 1000).toFixed(n < 99950 ? 1 : 0)}k` : `${(n / 1e6).toFixed(2)}M`;
const plural = (n, word) => `${number(n)} ${word}${n === 1 ? '' : 's'}`;
const seconds = (ms) => ms < 59950 ? `${(ms / 1000).toFixed(1)} s` : `${Math.floor(ms / 60000)} min ${Math.round(ms % 60000 / 1000)} s`;
function bytesText(bytes) {
    const units = ['B', 'kB', 'MB', 'GB', 'TB'];
    let unit = 0;
    while (bytes >= 999.5 && unit + 1 < units.length) { bytes /= 1000; ++unit; }
    return `${bytes >= 99.5 || unit === 0 ? Math.round(bytes) : bytes.toFixed(1)} ${units[unit]}`;
}
const isTouch = matchMedia('(pointer: coarse)');

async function copyText(text, button) {
    const label = button.textContent;
    try { await navigator.clipboard.writeText(text); button.textContent = 'Copied'; }
    catch { button.textContent = 'Not allowed'; }
    setTimeout(() => { button.textContent = label; }, 1500);
}

// ---- chats, and where they are kept: one key each, the oldest give way when the room is used up ----

const kKeep = 'baleen.chat.';
let chats = [];     // newest first
let chat = null;    // the one shown; in `chats` once it holds a message
let status = { context: 0 };
let models = null;

function newChat() {
    return { id: crypto.getRandomValues(new Uint32Array(2)).join(''), title: '', changed: Date.now(), mode: chat?.mode ?? 'high',
             system: '', tools: '', sampling: {}, messages: [] };
}
function loadChats() {
    for (const key of Object.keys(localStorage).filter((k) => k.startsWith(kKeep))) {
        try {
            const kept = JSON.parse(localStorage.getItem(key));
            if (kKeep + kept.id !== key || !Array.isArray(kept.messages)) throw 0;
            chats.push({ ...newChat(), ...kept });
        } catch { localStorage.removeItem(key); }
    }
    chats.sort((a, b) => b.changed - a.changed);
}
function save() {
    if (!chat.messages.length) return;
    chat.changed = Date.now();
    chats = [chat, ...chats.filter((c) => c !== chat)];
    for (;;) {
        try { localStorage.setItem(kKeep + chat.id, JSON.stringify(chat)); return; } catch {
            const oldest = chats.at(-1);
            if (oldest === chat || !localStorage.getItem(kKeep + oldest.id)) return;  // does not fit at all, or is not ours
            forget(oldest);
        }
    }
}
function forget(gone) {
    localStorage.removeItem(kKeep + gone.id);
    chats = chats.filter((c) => c !== gone);
}

// ---- the server ----

// fetch with the key; asks for one when the server wants it.
async function call(path, options = {}) {
    for (let asked = false; ; asked = true) {
        const key = sessionStorage.getItem('baleen.key');
        const response = await fetch(path, { ...options, headers: { ...options.headers, ...(key && { authorization: `Bearer ${key}` }) } });
        if (response.status !== 401) return response;
        if (!await askKey(asked || key !== null)) return response;
    }
}
let keyAsked = null;
function askKey(wasWrong) {
    keyAsked ??= new Promise((resolve) => {
        const dialog = $('key-dialog');
        $('key-wrong').textContent = wasWrong ? 'The server did not accept this key.' : '';
        $('key').value = '';
        dialog.returnValue = '';
        $('key-form').onsubmit = () => { sessionStorage.setItem('baleen.key', $('key').value.trim()); dialog.returnValue = 'given'; };
        $('key-cancel').onclick = () => dialog.close('');
        dialog.onclose = () => { keyAsked = null; resolve(dialog.returnValue === 'given' || sessionStorage.getItem('baleen.key') && !wasWrong && $('key').value !== ''); };
        dialog.showModal();
    });
    return keyAsked;
}

// The data of each server-sent event.
async function* eventsOf(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        text += value;
        const parts = text.split(/\r?\n\r?\n/);
        text = parts.pop();
        for (const part of parts) {
            const data = part.split(/\r?\n/).filter((l) => l.startsWith('data:')).map((l) => l.slice(5).replace(/^ /, ''));
            if (data.length) yield data.join('\n');
        }
    }
}

async function pollHealth() {
    try {
        const response = await fetch('/health');
        status = await response.json();
        $('offline').hidden = true;
        $('scripted').hidden = !status.scripted;
    } catch { $('offline').hidden = false; }
    showMeters();
    showTitle();
}
async function loadModels() {
    try {
        const response = await call('/v1/models');
        if (response.ok) models = (await response.json()).data;
    } catch { /* the health line says that the server is away */ }
    showTitle();
}
const modelName = () => models?.[0]?.id ?? status.model ?? 'Baleen';
const contextMax = () => models?.[0]?.context_length ?? status.context ?? 0;

// ---- the request ----

function toolsOf(text) {
    if (!text.trim()) return [];
    const list = JSON.parse(text);
    if (!Array.isArray(list)) throw new Error('expected a list: [ {"type": "function", "function": {…}} ]');
    return list.map((tool, i) => {
        const declared = tool?.function ? tool : { type: 'function', function: tool };
        if (typeof declared.function?.name !== 'string') throw new Error(`tool ${i + 1} has no function.name`);
        return declared;
    });
}
const callsOf = (message) => message.tool_calls ?? [];
// The result of a call of this message: the tool messages that follow it.
function resultOf(message, called) {
    for (let i = chat.messages.indexOf(message) + 1; chat.messages[i]?.role === 'tool'; ++i)
        if (chat.messages[i].tool_call_id === called.id) return chat.messages[i];
}
const pendingCalls = () => {
    const last = chat.messages.findLast((m) => m.role !== 'tool');
    return last?.role === 'assistant' && last !== run?.message ? callsOf(last).filter((c) => !resultOf(last, c)) : [];
};

// What of the chat goes to the server: not our own notes, not answers that failed before a word.
function wireMessages() {
    const wire = chat.system.trim() ? [{ role: 'system', content: chat.system }] : [];
    for (const message of chat.messages) {
        const calls = callsOf(message);
        if (message === run?.message) continue;
        if (message.role !== 'assistant') wire.push({ role: message.role, content: message.content, tool_call_id: message.tool_call_id });
        else if (!message.error || message.content || calls.length)
            wire.push({ role: 'assistant', content: message.content, reasoning_content: message.reasoning || undefined,
                        tool_calls: calls.length ? calls.map((c) => ({ id: c.id, type: 'function', function: { name: c.name, arguments: c.arguments } })) : undefined });
    }
    return wire;
}
function requestBody() {
    const tools = toolsOf(chat.tools);
    return JSON.stringify({ model: modelName(), messages: wireMessages(), stream: true, stream_options: { include_usage: true },
                            tools: tools.length ? tools : undefined, thinking: { type: chat.mode === 'off' ? 'disabled' : 'enabled' },
                            reasoning_effort: chat.mode === 'off' ? undefined : chat.mode, ...chat.sampling });
}

// The answer in progress: {message, view, abort, begun, first, thinkEnd, last, tokens, thoughts, prompt}.
let run = null;

async function answer() {
    const message = { role: 'assistant', content: '', reasoning: '', tool_calls: [] };
    const mine = run = { chat, message, abort: new AbortController(), begun: performance.now(), tokens: 0, thoughts: 0, prompt: 0 };
    chat.messages.push(message);
    save();
    showLog();
    stickToEnd(true);
    showChats();
    try {
        const response = await call('/v1/chat/completions', { method: 'POST', headers: { 'content-type': 'application/json' }, body: requestBody(), signal: mine.abort.signal });
        if (!response.ok) throw new Error(await errorText(response));
        mine.prompt = Number(/tokens=(\d+)/.exec(response.headers.get('x-baleen-prompt') ?? '')?.[1] ?? 0);
        message.warning = response.headers.get('x-baleen-warning') ?? undefined;
        message.cache = response.headers.get('x-baleen-cache') ?? undefined;
        schedule();
        for await (const data of eventsOf(response.body)) {
            if (data === '[DONE]') break;
            take(mine, JSON.parse(data));
            schedule();
        }
        if (!message.finish) throw new Error('the connection ended before the answer did');
    } catch (error) {
        if (mine.abort.signal.aborted) message.finish = 'stopped';
        else message.error = error instanceof TypeError ? 'The server cannot be reached.' : error.message;
    }
    finish(mine);
}
async function errorText(response) {
    try { return (await response.json()).error.message; } catch { return `the server answered ${response.status}`; }
}

function take(mine, chunk) {
    const { message } = mine;
    if (chunk.error) throw new Error(chunk.error.message ?? 'the server failed');
    if (chunk.usage) message.usage = { prompt: chunk.usage.prompt_tokens, completion: chunk.usage.completion_tokens,
                                       cached: chunk.usage.prompt_tokens_details?.cached_tokens ?? 0, reasoning: chunk.usage.completion_tokens_details?.reasoning_tokens ?? 0 };
    const choice = chunk.choices?.[0];
    if (!choice) return;
    const { reasoning_content: thought, content, tool_calls: calls } = choice.delta ?? {};
    if (thought || content || calls) {
        mine.last = performance.now();
        mine.first ??= mine.last;
        ++mine.tokens;
        if (thought) ++mine.thoughts;
        else mine.thinkEnd ??= mine.last;
    }
    message.reasoning += thought ?? '';
    message.content += content ?? '';
    for (const part of calls ?? []) {
        const known = message.tool_calls[part.index] ??= { id: '', name: '', arguments: '' };
        known.id = part.id ?? known.id;
        known.name = part.function?.name ?? known.name;
        known.arguments += part.function?.arguments ?? '';
    }
    if (choice.finish_reason) message.finish = choice.finish_reason;
}

function finish(mine) {
    const { message } = mine;
    const isWhole = (c) => { try { JSON.parse(c.arguments); return true; } catch { return false; } };
    if (message.finish !== 'tool_calls') message.tool_calls = message.tool_calls.filter((c) => c && c.id && isWhole(c));
    message.ms = (mine.last ?? performance.now()) - (mine.first ?? mine.begun);
    message.thought_ms = (mine.thinkEnd ?? mine.last ?? mine.begun) - (mine.first ?? mine.begun);
    message.usage ??= { prompt: mine.prompt, completion: mine.tokens, reasoning: mine.thoughts, guessed: true };
    if (run === mine) run = null;
    if (mine.chat !== chat) return;
    save();
    showLog();
    showChats();
    pollHealth();
}
function stop() {
    run?.abort.abort();
}

// ---- what the user does ----

function send(text) {
    if (run || !text.trim()) return;
    if (editing !== null) chat.messages.length = editing;
    editing = null;
    for (const c of pendingCalls()) giveResult(c, '(no result: the user went on)');
    chat.messages.push({ role: 'user', content: text });
    chat.title ||= text.trim().split('\n')[0].slice(0, 80);
    answer();
}
function retry() {
    if (run) return;
    while (chat.messages.length && chat.messages.at(-1).role === 'tool') chat.messages.pop();
    if (chat.messages.at(-1)?.role === 'assistant') chat.messages.pop();
    answer();
}
// Results stand behind their answer in the order of its calls.
function giveResult(called, content) {
    const at = chat.messages.findLastIndex((m) => m.role === 'assistant');
    const order = callsOf(chat.messages[at]).map((c) => c.id);
    const results = [...chat.messages.slice(at + 1), { role: 'tool', tool_call_id: called.id, content }];
    results.sort((a, b) => order.indexOf(a.tool_call_id) - order.indexOf(b.tool_call_id));
    chat.messages.splice(at + 1, Infinity, ...results);
}
let editing = null;  // index of the user message that the composer replaces
function edit(idx) {
    if (run) return;
    editing = idx;
    $('input').value = idx === null ? '' : chat.messages[idx].content;
    showComposer();
    $('input').focus();
}
function open(other) {
    stop();
    if (run) { run.message.finish = 'stopped'; finish(run); }
    chat = other;
    editing = null;
    drawer(false);
    showAll();
    if (!isTouch.matches) $('input').focus();
}
function drawer(isOpen) {
    document.body.classList.toggle('drawer', isOpen);
    $('menu').setAttribute('aria-expanded', isOpen);
}

// ---- messages on the page ----

function userView(message, idx) {
    return make('article', { class: 'message user', 'aria-label': 'You' }, make('div', { class: 'said' }, message.content),
                make('div', { class: 'actions' }, make('button', { type: 'button', onclick: () => edit(idx) }, 'Edit')));
}

function assistantView(message) {
    const view = make('article', { class: 'message assistant', 'aria-label': 'Answer' });
    view.label = make('span', { class: 'label' });
    view.thought = make('div', { class: 'thought' });
    view.reasoning = make('details', { class: 'reasoning', 'aria-live': 'off', hidden: true }, make('summary', {}, drawing(kChevron), view.label), view.thought);
    view.reasoning.addEventListener('toggle', () => {
        message.unfolded = view.reasoning.open;
        if (run?.message !== message) lookWhere();
    });
    view.reasoning.open = message.unfolded ?? false;
    view.waiting = make('div', { class: 'waiting' });
    view.answer = make('div', { class: 'answer' });
    view.calls = make('div', { class: 'calls' });
    view.end = make('div');
    view.append(view.reasoning, view.waiting, view.answer, view.calls, view.end);
    updateAssistant(view, message);
    return view;
}
function updateAssistant(view, message) {
    const live = run?.message === message ? run : null;
    if (message.reasoning) {
        const thoughts = live ? live.thoughts : message.usage?.reasoning;
        const ms = live ? (live.thinkEnd ?? performance.now()) - live.first : message.thought_ms;
        const isThinking = live && !live.thinkEnd;
        view.reasoning.hidden = false;
        view.reasoning.classList.toggle('live', Boolean(isThinking));
        view.label.textContent = `${isThinking ? 'Thinking' : 'Thought'} · ${plural(thoughts ?? 0, 'token')} · ${seconds(ms ?? 0)}`;
        const shown = view.thought.firstChild ?? view.thought.appendChild(document.createTextNode(''));
        if (shown.length < message.reasoning.length) shown.appendData(message.reasoning.slice(shown.length));
    }
    view.waiting.hidden = !live || Boolean(live.first);
    if (!view.waiting.hidden) view.waiting.textContent = live.prompt ? `Reading ${plural(live.prompt, 'token')}…` : 'Waiting…';
    showText(view.answer, message.content.trim());
    callsOf(message).forEach((called, i) => {
        const card = view.calls.children[i] ?? view.calls.appendChild(callView());
        updateCall(card, called, message, live);
    });
    while (view.calls.children.length > callsOf(message).length) view.calls.lastChild.remove();
    if (!live) view.end.replaceChildren(...endOf(view, message));
}
function endOf(view, message) {
    const notes = [];
    const note = (text, kind = '') => notes.push(make('p', { class: `note ${kind}`, role: kind && 'alert' }, text));
    if (message.error) note(message.error, 'alarm');
    if (message.finish === 'stopped') note('Stopped.');
    if (message.finish === 'length') note('Cut off: the limit of tokens was reached.');
    if (message.warning) note(message.warning);
    const { usage, ms } = message;
    const facts = usage && (usage.completion || usage.prompt) ? [`${usage.guessed ? 'about ' : ''}${plural(usage.completion, 'token')}`] : [];
    if (usage && ms > 0 && usage.completion > 1) facts.push(`${speed(usage.completion, ms)} tok/s`);
    const actions = make('div', { class: 'actions' });
    if (facts.length) actions.append(make('span', { class: 'numbers', title: message.cache && `Prompt cache: ${message.cache}` }, facts.join(' · ')));
    if (message.content) {
        const copy = make('button', { type: 'button', onclick: () => copyText(message.content, copy) }, 'Copy');
        actions.append(copy);
    }
    if (message === chat.messages.findLast((m) => m.role === 'assistant')) actions.append(make('button', { type: 'button', onclick: retry }, 'Retry'));
    return [...notes, actions];
}
const speed = (tokens, ms) => { const s = (tokens - 1) / ms * 1000; return s >= 99.95 ? s.toFixed(0) : s.toFixed(1); };

function callView() {
    const card = make('section', { class: 'call' });
    card.name = make('b');
    card.state = make('span');
    card.code = make('pre', { tabindex: '0', 'aria-label': 'Arguments' });
    card.append(make('div', { class: 'title' }, drawing(kPrompt), card.name, card.state), card.code);
    return card;
}
function updateCall(card, called, message, live) {
    card.name.textContent = called.name;
    card.setAttribute('aria-label', `Call of ${called.name}`);
    let text = called.arguments;
    if (!live) try { text = JSON.stringify(JSON.parse(text), null, 2); } catch { /* shown as it came */ }
    if (card.code.textContent !== text) card.code.textContent = text;
    const result = resultOf(message, called);
    const isPending = !live && !run && !result && message === chat.messages.findLast((m) => m.role !== 'tool');
    card.state.textContent = live ? 'being written' : result ? 'answered' : isPending ? 'waits for a result' : '';
    if (live || card.rest === (card.rest = result ? result.content : isPending ? 'form' : '')) return;
    card.querySelector('.result, form')?.remove();
    if (result) card.append(make('pre', { class: 'result', tabindex: '0', 'aria-label': 'Result' }, result.content || '(empty)'));
    else if (isPending) card.append(resultForm(called));
}
function resultForm(called) {
    const id = `result-${called.id}`;
    const field = make('textarea', { id, class: 'field mono', rows: '2', spellcheck: 'false', placeholder: 'What the tool gives back' });
    const form = make('form', {}, make('label', { for: id }, `Result of ${called.name}`), field,
                      make('div', {}, make('button', { class: 'strong', type: 'submit' }, 'Send result')));
    const submit = () => {
        if (run) return;
        giveResult(called, field.value);
        save();
        if (pendingCalls().length) return showLog();
        if (!isTouch.matches) $('input').focus();
        answer();
    };
    form.addEventListener('submit', (event) => { event.preventDefault(); submit(); });
    field.addEventListener('keydown', (event) => {
        if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) { event.preventDefault(); submit(); }
    });
    return form;
}

// ---- the whole page ----

let views = new Map();  // message -> element
function showLog() {
    const fresh = new Map();
    chat.messages.forEach((message, idx) => {
        if (message.role === 'tool') return;
        const old = views.get(message);
        const view = message.role === 'user' ? userView(message, idx) : old ?? assistantView(message);
        if (view === old) updateAssistant(view, message);
        fresh.set(message, view);
    });
    views = fresh;
    const focused = document.activeElement;
    $('log').replaceChildren(...views.values());
    if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
    $('log').setAttribute('aria-busy', String(Boolean(run)));
    $('empty').hidden = chat.messages.length > 0;
    showComposer();
    showMeters();
    stickToEnd();
}

// While an answer comes: at most one update per frame, and one per tenth of a second for long texts.
let scheduled = false;
function schedule() {
    if (scheduled) return;
    scheduled = true;
    const wait = run && run.message.content.length + run.message.reasoning.length > 20000 ? 100 : 0;
    setTimeout(() => requestAnimationFrame(() => {
        scheduled = false;
        const view = run && views.get(run.message);
        if (!view) return;
        updateAssistant(view, run.message);
        showMeters();
        stickToEnd();
    }), wait);
}
setInterval(() => { if (run?.first && !run.thinkEnd) schedule(); }, 250);  // the seconds of a silent thought

let atEnd = true;
function stickToEnd(force = false) {
    const talk = $('talk');
    if (force) atEnd = true;
    if (atEnd) talk.scrollTop = talk.scrollHeight;
    showToEnd();
}
function lookWhere() {
    const talk = $('talk');
    atEnd = talk.scrollHeight - talk.scrollTop - talk.clientHeight < 40;
    showToEnd();
}
function showToEnd() {
    const talk = $('talk');
    document.querySelector('header').classList.toggle('over', talk.scrollTop > 4);
    $('to-end').hidden = talk.scrollHeight - talk.scrollTop - talk.clientHeight < 80;
}

function showComposer() {
    const input = $('input');
    input.style.height = 'auto';
    input.style.height = `${input.scrollHeight}px`;
    const button = $('send');
    const shows = run ? 'stop' : 'send';
    if (button.dataset.shows !== shows) {
        button.dataset.shows = shows;
        button.replaceChildren(drawing(run ? kSquare : kArrowUp));
        button.setAttribute('aria-label', run ? 'Stop' : 'Send');
    }
    button.disabled = !run && !input.value.trim();
    $('editing').hidden = editing === null;
    input.placeholder = pendingCalls().length ? 'Answer the call above, or write on' : 'Message';
    for (const radio of document.getElementsByName('mode')) radio.checked = radio.value === chat.mode;
    $('setup').classList.toggle('set', Boolean(chat.system.trim() || chat.tools.trim() || Object.keys(chat.sampling).length));
}

function showMeters() {
    const message = run?.message ?? chat.messages.findLast((m) => m.usage && (m.usage.prompt || m.usage.completion));
    const usage = run ? { prompt: run.prompt, completion: run.tokens } : message?.usage;
    const used = usage ? usage.prompt + usage.completion : 0;
    const max = contextMax();
    $('m-context').replaceChildren(usage ? shortNumber(used) : '0', make('small', {}, max ? ` of ${shortNumber(max)}` : ''));
    const bar = $('m-bar');
    bar.setAttribute('aria-valuenow', used);
    bar.setAttribute('aria-valuemax', max || 1);
    bar.setAttribute('aria-valuetext', `${number(used)} of ${number(max)} tokens`);
    bar.firstElementChild.style.width = `${max ? Math.min(100, used / max * 100) : 0}%`;
    bar.classList.toggle('near', max > 0 && used > .9 * max);
    const cached = message?.usage?.cached;
    if (cached === undefined || !message.usage.prompt) $('m-cached').textContent = '–';
    else $('m-cached').replaceChildren(shortNumber(cached), make('small', { class: 'wide' }, ` of ${shortNumber(message.usage.prompt)}`));
    $('m-cached').title = message?.cache ?? '';
    $('m-kv').textContent = status.kv_bytes === undefined ? '–' : bytesText(status.kv_bytes);
    const [tokens, ms] = run ? [run.tokens, (run.last ?? 0) - (run.first ?? 0)] : [usage?.completion ?? 0, message?.ms ?? 0];
    $('m-speed').textContent = tokens > 1 && ms > 0 ? `${speed(tokens, ms)} tok/s` : '–';
}
function showTitle() {
    const name = modelName();
    $('title').replaceChildren(...(chat.title ? [chat.title, ' ', make('span', {}, `· ${name}`)] : [name]));
    document.title = chat.title ? `${chat.title} – Baleen` : 'Baleen';
    $('empty-model').textContent = name;
    $('empty-facts').textContent = contextMax() ? `Up to ${number(contextMax())} tokens of context.` : '';
}
function showChats() {
    $('chats').replaceChildren(...chats.map((c) => {
        const remove = make('button', { class: 'icon', type: 'button', 'aria-label': `Delete ${c.title}`, onclick: () => {
            forget(c);
            if (c === chat) open(newChat()); else showChats();
        } }, drawing(kCross));
        const title = make('button', { class: 'open', type: 'button', 'aria-current': c === chat && 'true', onclick: () => open(c) }, c.title || 'Untitled');
        return make('li', { class: c === chat ? 'here' : '' }, title, remove);
    }));
    showTitle();
}
function showAll() {
    views = new Map();
    if (editing === null) $('input').value = '';
    showChats();
    showLog();
    stickToEnd(true);
}

// ---- the setup dialog ----

const kExample = [{ type: 'function', function: { name: 'get_weather', description: 'The weather of a city today',
    parameters: { type: 'object', properties: { city: { type: 'string' }, unit: { type: 'string', enum: ['celsius', 'fahrenheit'] } }, required: ['city'] } } }];
const kNumbers = [['temperature', 'temperature'], ['top-p', 'top_p'], ['max-tokens', 'max_tokens']];
function openSetup() {
    $('system').value = chat.system;
    $('tools').value = chat.tools;
    for (const [id, field] of kNumbers) $(id).value = chat.sampling[field] ?? '';
    $('tools-wrong').textContent = '';
    $('setup-dialog').showModal();
}
function saveSetup(event) {
    try { toolsOf($('tools').value); } catch (error) {
        event.preventDefault();
        $('tools-wrong').textContent = `Tools: ${error.message}`;
        return;
    }
    chat.system = $('system').value;
    chat.tools = $('tools').value;
    chat.sampling = Object.fromEntries(kNumbers.map(([id, field]) => [field, $(id).value]).filter(([, v]) => v !== '').map(([f, v]) => [f, Number(v)]));
    save();
    showComposer();
}

// ---- wiring ----

$('composer').addEventListener('submit', (event) => {
    event.preventDefault();
    if (run) return stop();
    const text = $('input').value;
    if (!text.trim()) return;
    $('input').value = '';
    send(text);
    if (isTouch.matches) $('input').blur();
});
$('input').addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!run) $('composer').requestSubmit();
});
$('input').addEventListener('input', showComposer);
document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || document.querySelector('dialog[open]')) return;
    if (document.body.classList.contains('drawer')) { drawer(false); $('menu').focus(); }
    else if (run) stop();
    else if (editing !== null) edit(null);
});
for (const radio of document.getElementsByName('mode')) radio.addEventListener('change', () => { chat.mode = radio.value; save(); });
$('talk').addEventListener('scroll', lookWhere, { passive: true });
new ResizeObserver(() => stickToEnd()).observe($('talk'));
$('to-end').addEventListener('click', () => stickToEnd(true));
$('edit-cancel').addEventListener('click', () => edit(null));
$('new-chat').addEventListener('click', () => open(newChat()));
$('header-new').addEventListener('click', () => open(newChat()));
$('menu').addEventListener('click', () => { drawer(true); $('new-chat').focus(); });
$('shade').addEventListener('click', () => drawer(false));
$('setup').addEventListener('click', openSetup);
$('setup-form').addEventListener('submit', saveSetup);
$('setup-cancel').addEventListener('click', () => $('setup-dialog').close());
$('tools-example').addEventListener('click', () => { $('tools').value = JSON.stringify(kExample, null, 2); $('tools-wrong').textContent = ''; });
addEventListener('pagehide', () => { if (run) save(); });

loadChats();
chat = chats[0] ?? newChat();
showAll();
pollHealth().then(loadModels);
setInterval(() => { if (!document.hidden) pollHealth(); }, 3000);
