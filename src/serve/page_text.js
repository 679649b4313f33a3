// ---- text of the model, as elements ----

// Inline marks: `code`, **strong**, *emphasis*, [text](https://…) and bare links.
const kInline = /(`+)([^`]|[^`][\s\S]*?[^`])\1(?!`)|\*\*(?=\S)([\s\S]+?\S?)\*\*|\*(?=[^\s*])([^*\n]*[^\s*])\*|\[([^\]\n]+)\]\((https?:\/\/[^\s)]+)\)|(https?:\/\/[^\s<>"'`)\]]*[^\s<>"'`)\].,;:!?])/g;
function inline(text) {
    const out = [];
    let end = 0;
    for (const m of text.matchAll(kInline)) {
        if (m.index > end) out.push(text.slice(end, m.index));
        end = m.index + m[0].length;
        if (m[1]) out.push(make('code', {}, m[2].replace(/^ (.+) $/, '$1')));
        else if (m[3]) out.push(make('strong', {}, ...inline(m[3])));
        else if (m[4]) out.push(make('em', {}, ...inline(m[4])));
        else out.push(make('a', { href: m[6] ?? m[7], target: '_blank', rel: 'noopener noreferrer' }, m[5] ?? m[7]));
    }
    if (end < text.length) out.push(text.slice(end));
    return out;
}

// Cuts text into blocks: {kind, text}. A block's kind depends on its own lines only, so that while
// text grows all blocks but the last stay as they are.
const kFence = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)[^`]*$/;
const kItem = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
function blocksOf(text) {
    const blocks = [];
    let block = null;
    const add = (kind, line) => {
        if (block?.kind !== kind) blocks.push(block = { kind, lines: [] });
        block.lines.push(line);
    };
    let fence = null;
    for (const line of text.split('\n')) {
        const opens = !fence && kFence.exec(line);
        if (opens) {
            fence = opens[1];
            blocks.push(block = { kind: 'code', language: opens[2], lines: [] });
        } else if (fence) {
            const closes = line.trim();
            if (closes.length >= fence.length && closes === fence[0].repeat(closes.length)) fence = block = null;
            else block.lines.push(line);
        } else if (!line.trim()) {
            if (block?.kind === 'list') block.lines.push('');  // a list goes on over an empty line if an item follows
            else block = null;
        } else if (/^#{1,6}\s/.test(line)) { block = null; add('heading', line); block = null; }
        else if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) { block = null; add('rule', line); block = null; }
        else if (kItem.test(line)) add('list', line);
        else if (/^>/.test(line)) add('quote', line.replace(/^> ?/, ''));
        else if (/^\s*\|.*\|\s*$/.test(line)) add('table', line);
        else if (block?.kind === 'list' && (/^\s{2,}/.test(line) || block.lines.at(-1))) block.lines.push(line);
        else add('paragraph', line);
    }
    return blocks;
}
function listElement(lines) {
    const root = { indent: -1, list: null };
    const open = [root];
    let item = null;
    for (const line of lines) {
        const m = kItem.exec(line);
        if (!m) {
            if (line.trim() && item) item.append('\n', ...inline(line.trim()));
            continue;
        }
        const indent = m[1].replace(/\t/g, '    ').length;
        while (open.length > 1 && indent < open.at(-1).indent) open.pop();
        if (open.length === 1 || indent > open.at(-1).indent + 1) {
            const list = make(/\d/.test(m[2]) ? 'ol' : 'ul', /\d/.test(m[2]) ? { start: parseInt(m[2], 10) } : {});
            (item ?? root).list = list;
            if (item) item.append(list); else root.list = list;
            open.push({ indent, list });
        }
        item = make('li', {}, ...inline(m[3]));
        open.at(-1).list.append(item);
    }
    return root.list;
}
function tableElement(lines) {
    const rows = lines.map((line) => line.trim().slice(1, -1).split('|').map((cell) => cell.trim()));
    const hasHead = rows.length > 1 && rows[1].every((cell) => /^:?-+:?$/.test(cell));
    const row = (cells, tag) => make('tr', {}, ...cells.map((cell) => make(tag, {}, ...inline(cell))));
    const table = make('table');
    if (hasHead) table.append(make('thead', {}, row(rows[0], 'th')));
    table.append(make('tbody', {}, ...rows.slice(hasHead ? 2 : 0).map((cells) => row(cells, 'td'))));
    return make('div', { class: 'scroll', tabindex: '0', role: 'group', 'aria-label': 'Table' }, table);
}
function blockElement(block) {
    const text = block.lines.join('\n');
    switch (block.kind) {
        case 'code': {
            const copy = make('button', { type: 'button', onclick: () => copyText(block.lines.join('\n'), copy) }, 'Copy');
            return make('div', { class: 'code' }, make('div', {}, make('span', {}, block.language || 'text'), copy), make('pre', { tabindex: '0' }, make('code', {}, text)));
        }
        case 'heading': {
            const level = /^#+/.exec(text)[0].length;
            return make(`h${Math.min(level + 2, 5)}`, {}, ...inline(text.replace(/^#+\s+/, '').replace(/\s+#+\s*$/, '')));
        }
        case 'rule': return make('hr');
        case 'list': return listElement(block.lines);
        case 'quote': return make('blockquote', {}, ...inline(text));
        case 'table': return tableElement(block.lines);
        default: return make('p', {}, ...inline(text));
    }
}
// Brings the element up to text, touching only blocks that changed.
function showText(element, text) {
    const blocks = blocksOf(text);
    const shown = element.blocks ??= [];
    blocks.forEach((block, i) => {
        const key = `${block.kind} ${block.language ?? ''} ${block.lines.join('\n')}`;
        if (shown[i] === key) return;
        const fresh = blockElement(block);
        if (element.children[i]) element.children[i].replaceWith(fresh); else element.append(fresh);
        shown[i] = key;
    });
    while (element.children.length > blocks.length) element.lastChild.remove();
    shown.length = blocks.length;
}
