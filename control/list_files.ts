/**
 * Prefixes from files and from the command line, made into what the rules are to hold.
 *
 * @module
 */
import type { ConfigIssue, PrefixFilter } from "../config/mod.ts";
import {
  mergePrefixes,
  parseAddress,
  parsePrefix,
  parsePrefixList,
  type Prefix,
  unmapV4,
} from "../net/mod.ts";

/** Some millions of lines: no list is longer, and no pipe or device, which never ends, is read. */
const MOST_BYTES = 64 * 2 ** 20;

/** One side of a filter by address: merged, canonical, in order. What cannot be read becomes issues. */
export async function collectPrefixes(
  flag: string,
  side: "include" | "exclude",
  filter: PrefixFilter,
  issues: ConfigIssue[],
): Promise<string[]> {
  const files = filter[`${side}Files`];
  const issuesBefore = issues.length;
  const prefixes = filter[side].map((text) => parsePrefix(text)).filter((prefix) => prefix !== undefined);
  for (const file of new Set(files)) {
    for (const prefix of await readPrefixFile(`${flag}-file`, file, issues)) prefixes.push(prefix);
  }
  // Nothing included would mean all.
  if (side === "include" && files.length > 0 && prefixes.length === 0 && issues.length === issuesBefore) {
    issues.push({
      path: `${flag}-file`,
      found: `no prefix in ${files.join(", ")}`,
      wanted: "at least one",
      hint: "what is to be taken is named there; without the flag all is",
    });
  }
  return mergePrefixes(prefixes).map(({ text }) => text);
}

/** A whole list; none of it when a line is bad. What cannot be read becomes issues of `path`. */
export async function readPrefixFile(
  path: string,
  file: string,
  issues: ConfigIssue[],
): Promise<readonly Prefix[]> {
  const text = await readFile(path, file, issues);
  if (text === undefined) return [];
  const list = parsePrefixList(text);
  if ("prefixes" in list) return list.prefixes;
  for (const { line, found } of list.badLines) {
    issues.push({
      path,
      found: `${file}:${line}: ${JSON.stringify(found)}`,
      wanted: "a prefix or an address",
    });
  }
  if (list.badCount > list.badLines.length) {
    issues.push({
      path,
      found: `${file}: ${list.badCount - list.badLines.length} more lines of that kind`,
      wanted: "one prefix or address a line",
    });
  }
  return [];
}

/** Addresses of name servers in resolv.conf(5). */
export async function readNameServers(path: string, file: string, issues: ConfigIssue[]): Promise<string[]> {
  const text = await readFile(path, file, issues);
  if (text === undefined) return [];
  const servers = parseNameServers(text);
  if (servers.length === 0) {
    issues.push({ path, found: `no name server in ${file}`, wanted: "one there, or --dns-server ADDR" });
  }
  return servers;
}

/** The addresses in the text of resolv.conf(5), each once, without zones. */
export function parseNameServers(text: string): string[] {
  const found = new Set<string>();
  for (const [, word] of text.matchAll(/^[ \t]*nameserver[ \t]+([^\s%]+)/gm)) {
    const address = parseAddress(word!);
    if (address !== undefined) found.add(unmapV4(address).text);
  }
  return [...found];
}

async function readFile(path: string, file: string, issues: ConfigIssue[]): Promise<string | undefined> {
  try {
    const { isFile, size } = await Deno.stat(file);
    if (isFile && size <= MOST_BYTES) return await Deno.readTextFile(file);
    issues.push({
      path,
      found: `${file}: ${isFile ? `${Math.ceil(size / 2 ** 20)} MiB` : "no regular file"}`,
      wanted: `a regular file of at most ${MOST_BYTES / 2 ** 20} MiB`,
    });
    return undefined;
  } catch (error) {
    // Whatever kept it from being read, the user has to see to it; a running proxy goes on with what it has.
    const why = error instanceof Error ? error.message.replace(/: (readfile|stat) .*$/, "") : String(error);
    issues.push({ path, found: `${file}: ${why}`, wanted: "a file that can be read" });
    return undefined;
  }
}
