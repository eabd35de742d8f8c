"""How the page looks: one style sheet, system fonts, light and dark, narrow and wide, on paper."""

from __future__ import annotations

CSS = """
:root {
  color-scheme: light dark; --bg: #faf9f6; --card: #fff; --ink: #1d1c1a; --muted: #5c5851; --line: #e2ddd3;
  --soft: #f1eee7; --good: #0a6a73; --bad: #a93d08; --mark: #7a5a00; --o0: #f8d9c6; --o1: #fae9db;
  --o2: #f1eee7; --o3: #d9eceb; --o4: #b5dcdb; --edge: #8d877c;
}
@media (prefers-color-scheme:dark) {
  :root {
    --bg: #131417; --card: #1b1d21; --ink: #edece8; --muted: #aaa69e; --line: #33363c; --soft: #24272c;
    --good: #62c8d0; --bad: #f39a66; --mark: #e0b84e; --o0: #5a2c16; --o1: #432a1e; --o2: #2a2d32;
    --o3: #1c3b3e; --o4: #10494f; --edge: #7d8189;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--bg); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif;
  font-variant-numeric: tabular-nums;
}
main, header, footer, nav { max-width: 1080px; margin: 0 auto; padding: 0 20px; }
h1, h2, h3 {
  font-family: ui-serif, "Iowan Old Style", Charter, Georgia, "Noto Serif", "Liberation Serif", serif;
  line-height: 1.2; font-weight: 600; text-wrap: balance;
}
h1 { font-size: clamp(1.8rem,4.6vw,3rem); margin: .15em 0 .3em; letter-spacing: -.015em; }
h2 { font-size: 1.65rem; margin: 0 0 .35em; letter-spacing: -.01em; }
h3 { font-size: 1.05rem; margin: 0 0 .4em; font-family: inherit; font-weight: 650; }
p { margin: 0 0 .8em; max-width: 70ch; }
a { color: var(--good); text-underline-offset: .2em; }
header { padding-top: 44px; }
.kicker, .note, figcaption, caption, footer, .all { color: var(--muted); font-size: .875rem; }
.kicker { margin: 0; letter-spacing: .02em; }
.lead { font-size: 1.125rem; max-width: 62ch; }
nav { margin-top: 20px; }
nav ul {
  list-style: none; display: flex; flex-wrap: wrap; gap: 6px 22px; padding: 12px 0; margin: 0;
  border-top: 1px solid var(--line); border-bottom: 1px solid var(--line); font-size: .94rem;
}
section { padding: 40px 0 6px; }
section > ul { max-width: 74ch; padding-left: 1.2em; }
.key {
  display: grid; grid-template-columns: repeat(auto-fit,minmax(min(100%,270px),1fr)); gap: 14px;
  margin: 22px 0 0; padding: 0; list-style: none;
}
.key li {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 16px 18px;
  min-width: 0;
}
.key p { margin: 0; font-size: .95rem; overflow-wrap: anywhere; }
.key h2 {
  font: inherit; font-size: .82rem; font-weight: 650; color: var(--muted); margin: 0 0 2px;
  letter-spacing: 0;
}
.key .big {
  font-family: ui-serif, "Iowan Old Style", Charter, Georgia, "Noto Serif", "Liberation Serif", serif;
  font-size: 1.9rem; line-height: 1.15; margin: 2px 0 8px; letter-spacing: -.01em;
}
.good { color: var(--good); }
.bad { color: var(--bad); }
.warn { color: var(--mark); }
.box {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 16px 18px;
  margin: 0 0 14px; min-width: 0;
}
.scroll { overflow-x: auto; max-width: 100%; -webkit-overflow-scrolling: touch; }
.scroll:focus-visible, a:focus-visible, summary:focus-visible {
  outline: 2px solid var(--good); outline-offset: 2px;
}
.fork > div { display: grid; grid-template-columns: minmax(0,3fr) minmax(0,5fr); gap: 4px 30px; }
.fork > div:first-child {
  grid-template-columns: minmax(0,1fr) auto; align-items: baseline; margin-bottom: 6px;
}
.fork h3 { min-width: 0; margin: 0; }
.fork p { margin: .2em 0 .4em; }
.loss { color: var(--muted); font-size: .875rem; white-space: nowrap; }
.loss b { color: var(--bad); font-size: 1.15rem; font-weight: 650; }
.facts { max-width: 100%; }
.fact {
  display: inline-block; margin: 1px 3px 1px 0; max-width: 100%; background: var(--soft); border-radius: 5px;
  padding: 1px 7px; font-size: .875rem; font-weight: 500; overflow-wrap: anywhere; min-width: 0;
}
.fact i { font-style: normal; color: var(--muted); font-weight: 400; }
.id { color: var(--muted); font-weight: 400; font-size: .875rem; white-space: nowrap; }
b.act, td.act { font-weight: 600; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; margin: 0 0 10px; }
caption { text-align: left; padding: 0 0 6px; }
caption span { display: block; position: sticky; left: 0; max-width: min(70ch,calc(100vw - 64px)); }
th, td {
  text-align: left; padding: 6px 12px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top;
}
thead th {
  font-weight: 600; color: var(--muted); font-size: .82rem; vertical-align: bottom; white-space: normal;
}
th[scope=row] { font-weight: 500; }
.wide th[scope=row] { min-width: 11em; }
th:last-child, td:last-child { padding-right: 0; }
.n { text-align: right; white-space: nowrap; }
thead .n { white-space: normal; }
.keep { white-space: nowrap; }
tr.best td, tr.best th { background: var(--soft); font-weight: 650; }
.branches { table-layout: fixed; margin: 0; }
.branches th, .branches td { padding-top: 4px; padding-bottom: 4px; }
.branches th:nth-child(2) { width: 5.2em; }
.branches th:nth-child(3) { width: 6.8em; }
.branches th:nth-child(4) { width: 40%; }
.strip span { display: flex; gap: 10px; align-items: center; white-space: nowrap; }
.strip svg { flex: 1 1 auto; min-width: 0; width: 100px; }
.wide { min-width: 640px; }
details { margin: 6px 0 0; }
summary { cursor: pointer; color: var(--muted); font-size: .875rem; }
.all { overflow-wrap: anywhere; margin: 4px 0 0; }
figure { margin: 0 0 14px; }
figcaption { margin: 6px 0 0; max-width: 70ch; }
code { font-size: .9em; overflow-wrap: anywhere; }
svg { display: block; max-width: 100%; height: auto; }
svg text { fill: var(--ink); font-family: inherit; }
svg .m { fill: var(--muted); }
svg .g { stroke: var(--line); fill: none; }
svg .track { stroke: var(--line); stroke-width: 1; }
svg .s-good { stroke: var(--good); }
svg .s-bad { stroke: var(--bad); }
svg .s-ink { stroke: var(--ink); }
svg .s-edge { stroke: var(--edge); }
svg .f-good { fill: var(--good); }
svg .f-bad { fill: var(--bad); }
svg .f-ink { fill: var(--ink); }
svg .f-edge { fill: var(--edge); }
svg .line { fill: none; stroke-width: 2.5; stroke-linejoin: round; stroke-linecap: round; }
svg .move { fill: none; stroke-opacity: .5; }
svg .back { stroke-dasharray: 4 4; }
svg .halo { paint-order: stroke; stroke: var(--card); stroke-width: 4px; stroke-linejoin: round; }
.o0 { fill: var(--o0); }
.o1 { fill: var(--o1); }
.o2 { fill: var(--o2); }
.o3 { fill: var(--o3); }
.o4 { fill: var(--o4); }
.node rect:first-of-type { stroke: var(--line); stroke-width: 1; }
.rest { fill: var(--edge); fill-opacity: .35; }
.map { width: 1000px; max-width: none; }
.plot { width: 620px; max-width: none; }
.pair { display: grid; grid-template-columns: minmax(0,1.15fr) minmax(0,1fr); gap: 14px 30px; }
.pair.chart { grid-template-columns: auto minmax(0,1fr); align-items: center; }
.pair > * { min-width: 0; }
.legend {
  display: flex; flex-wrap: wrap; gap: 4px 18px; list-style: none; margin: 0 0 8px; padding: 0;
  font-size: .875rem; color: var(--muted);
}
.legend svg { display: inline-block; vertical-align: -2px; margin-right: 5px; }
footer { padding-top: 26px; padding-bottom: 50px; }
footer p { margin: 0 0 .4em; }
.hidden {
  position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap;
}
@media (max-width:900px) {
  .fork > div { grid-template-columns: minmax(0,1fr); }
  .pair, .pair.chart { grid-template-columns: minmax(0,1fr); }
}
@media (max-width:560px) {
  body { font-size: 15.5px; }
  main, header, footer, nav { padding-left: 14px; padding-right: 14px; }
  header { padding-top: 24px; }
  section { padding-top: 30px; }
  .box, .key li { padding: 13px 14px; }
  .branches th:nth-child(4) { width: 5.6em; }
  .branches th:nth-child(2) { width: 3.4em; }
  .branches th:nth-child(3) { width: 6.4em; }
  .branches td, .branches th { padding-right: 9px; }
  .strip svg { display: none; }
}
@media print {
  @page { margin: 14mm 12mm; }
  :root {
    color-scheme: light; --bg: #fff; --card: #fff; --ink: #000; --muted: #444; --line: #ccc; --soft: #f2f2f2;
    --good: #0a6a73; --bad: #a93d08; --mark: #5e4500; --o0: #f8d9c6; --o1: #fae9db; --o2: #f1eee7;
    --o3: #d9eceb; --o4: #b5dcdb; --edge: #777;
  }
  html { font-size: 12px; }
  body { font-size: 1rem; -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  nav, summary { display: none; }
  main, header, footer { max-width: none; padding-left: 0; padding-right: 0; }
  header { padding-top: 0; }
  section { padding-top: 16px; }
  .fork, .key li, figure, tr { break-inside: avoid; }
  h2, h3, caption { break-after: avoid; }
  .scroll { overflow: visible; }
  .map, .plot { width: 100%; max-width: 100%; }
  .wide { min-width: 0; }
  .key { grid-template-columns: repeat(3,minmax(0,1fr)); }
  .key .big { font-size: 1.4rem; }
}
"""
"""No font, picture or sheet is loaded from anywhere. Text has a contrast of 4.5 at least on all of its grounds."""
