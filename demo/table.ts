/**
 * The table: lines of text made from observations. At most 110 columns, whatever the addresses.
 *
 * @module
 */
import type { Observation } from "./judge.ts";
import type { Protocol } from "../net/mod.ts";
import { addedLines, type KernelState, STATE_KINDS } from "./kernel_state.ts";

/** Width of everything the demo prints. */
export const WIDTH = 110;

const LABEL = 10;
/** `[2001:db8:1::2]:65535` */
const ENDPOINT = 21;
/** What is dialled, and the last figure: `[2001:db8:100::10]:80`, `88.9 Gbit/s`; `[2001:db8:100::10]:3478`, `1 + 2`. */
const BY_PROTOCOL = { tcp: { dialled: 21, last: 10 }, udp: { dialled: 23, last: 9 } } as const;
/** `[2001:db8:ffff::1]:65535` */
const OUTSIDE = 24;
const BYTES = 7;
const VERDICT = 6;

/** How words are set off on a terminal that can. */
export interface Paint {
  good(text: string): string;
  bad(text: string): string;
  heading(text: string): string;
  faint(text: string): string;
}

/** `colours` false leaves every text as it is. */
export function paint(colours: boolean): Paint {
  const sgr = (code: number) => (text: string) => colours ? `\x1b[${code}m${text}\x1b[0m` : text;
  return { good: sgr(32), bad: sgr(31), heading: sgr(1), faint: sgr(2) };
}

/** What stands over the columns of each protocol's rows. */
export function renderColumnHeads(protocol: Protocol): string {
  const last = protocol === "tcp" ? "rate" : "datagrams";
  return row(protocol, "", "client", "", "dialled", "server's peer", "bytes", last, "");
}

/** The lines of one flow: what the ends saw, what the proxy said, what the client heard, and what is wrong. */
export function renderFlow(
  label: string,
  { protocol, dialled, ends, flow }: Observation,
  wrong: readonly string[],
  style: Paint,
): string[] {
  const bytes = ends.bytesUp + ends.bytesDown;
  const fact = row(
    protocol,
    label,
    ends.client ?? "?",
    "->",
    dialled,
    ends.peer ?? "nobody",
    formatBytes(bytes),
    ends.datagrams === undefined ? formatSpeed(bytes, ends.durationMs) : formatDatagrams(ends.datagrams),
    verdict(wrong, style),
  );
  const lines = [fact];
  if (flow !== undefined) {
    const { client, destination, local, bytesUp, bytesDown, datagramsUp: up, datagramsDown: down } = flow;
    const total = formatBytes(bytesUp + bytesDown);
    const datagrams = up === undefined || down === undefined ? "" : formatDatagrams({ up, down });
    lines.push(row(protocol, "  proxy", client, "->", destination, local ?? "none", total, datagrams, ""));
  }
  if (ends.heard !== undefined) lines.push(`${"  heard".padEnd(LABEL)} ${ends.heard}`);
  return [...lines, ...renderProblems(wrong, style)];
}

/** The line about what the proxy had put into the kernel and what is left of it. */
export function renderCleanup(
  before: KernelState,
  during: KernelState,
  after: KernelState,
  wrong: readonly string[],
  style: Paint,
): string[] {
  const counts = STATE_KINDS.map((kind) => {
    return `${kind} ${addedLines(before, during, kind).length} -> ${addedLines(before, after, kind).length}`;
  });
  return renderVerdictLine(
    "stopped",
    `in the kernel, while it ran -> now: ${counts.join(", ")}`,
    wrong,
    style,
  );
}

/** A line that is no connection. */
export function renderVerdictLine(
  label: string,
  text: string,
  wrong: readonly string[],
  style: Paint,
): string[] {
  const line = `${label.padEnd(LABEL)} ${text}`.padEnd(WIDTH - VERDICT - 1);
  return [`${line} ${verdict(wrong, style)}`, ...renderProblems(wrong, style)];
}

/** The last line. */
export function renderSummary(right: number, total: number, style: Paint): string {
  const text = `${right} of ${total} checks right`;
  return right === total ? style.good(text) : style.bad(text);
}

/** Decimal units, at most seven letters: `97 B`, `20.0 MB`. */
export function formatBytes(bytes: number): string {
  return scaled(bytes, ["B", "kB", "MB", "GB", "TB"]);
}

/** In bits, as networks are measured: `1.9 Gbit/s`. */
export function formatRate(bytes: number, ms: number): string {
  if (ms <= 0) return "";
  return scaled(bytes * 8000 / ms, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"]);
}

function scaled(value: number, units: readonly string[]): string {
  let unit = 0;
  // 999.95 would be written as 1000.0.
  while (value >= (unit === 0 ? 1000 : 999.5) && unit < units.length - 1) {
    [value, unit] = [value / 1000, unit + 1];
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : 1;
  return `${value.toFixed(digits)} ${units[unit]}`;
}

/** Of what carried nothing: how long it took. */
function formatSpeed(bytes: number, ms: number): string {
  return bytes > 0 ? formatRate(bytes, ms) : formatMs(ms);
}

function formatDatagrams({ up, down }: { readonly up: number; readonly down: number }): string {
  return `${up} + ${down}`;
}

function formatMs(ms: number): string {
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

function row(
  protocol: Protocol,
  label: string,
  client: string,
  arrow: string,
  destination: string,
  outside: string,
  bytes: string,
  last: string,
  verdict: string,
): string {
  const widths = BY_PROTOCOL[protocol];
  return [
    label.padEnd(LABEL),
    client.padEnd(ENDPOINT),
    arrow.padEnd(2),
    destination.padEnd(widths.dialled),
    outside.padEnd(OUTSIDE),
    bytes.padStart(BYTES),
    last.padStart(widths.last),
    verdict,
  ].join(" ").trimEnd();
}

function verdict(wrong: readonly string[], style: Paint): string {
  return wrong.length === 0 ? style.good("ok") : style.bad("FAILED");
}

function renderProblems(wrong: readonly string[], style: Paint): string[] {
  return wrong.flatMap((problem) => wrap(problem, WIDTH - 4).map((line) => style.bad(`    ${line}`)));
}

/** Also breaks words that are longer than a line, such as what a program printed. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (let rest = text.replaceAll(/\s+/g, " ").trim(); rest !== "";) {
    const space = rest.length <= width ? rest.length : rest.lastIndexOf(" ", width);
    const end = space > 0 ? space : width;
    lines.push(rest.slice(0, end));
    rest = rest.slice(end).trimStart();
  }
  return lines;
}
