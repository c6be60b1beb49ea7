/**
 * What the lab's small resolver and its game server answer: just enough for the programs that ask them.
 *
 * @module
 */
import { addressBytes, parseAddress } from "../../net/mod.ts";

const HEADER_BYTES = 12;
// RFC 1035, 4.1.1: an answer, authoritative, recursion asked for and available.
const FLAGS = 0x8580;
const TYPE = { A: 1, AAAA: 28 } as const;
const CLASS_IN = 1;
const TTL_SECONDS = 60;
/** The name at the beginning of the question (RFC 1035, 4.1.4). */
const POINTER_TO_QUESTION = 0xc000 | HEADER_BYTES;

/** What every name stands for. */
export interface ResolverAddresses {
  readonly v4: string;
  readonly v6: string;
}

/**
 * The answer to a DNS query for A or AAAA: one record, whatever the name; to other types, none.
 *
 * @returns undefined when `query` is none (RFC 1035, 4.1).
 */
export function answerQuery(query: Uint8Array, addresses: ResolverAddresses): Uint8Array | undefined {
  const question = questionOf(query);
  if (question === undefined) return undefined;
  const type = question[question.length - 3]! | question[question.length - 4]! << 8;
  const ip = type === TYPE.A ? addresses.v4 : type === TYPE.AAAA ? addresses.v6 : undefined;
  const address = ip === undefined ? undefined : addressBytes(parseAddress(ip)!);
  const recordBytes = address === undefined ? 0 : 12 + address.length;
  const answer = new Uint8Array(HEADER_BYTES + question.length + recordBytes);
  answer.set(query.subarray(0, 2));
  const view = new DataView(answer.buffer);
  view.setUint16(2, FLAGS);
  view.setUint16(4, 1);
  view.setUint16(6, address === undefined ? 0 : 1);
  answer.set(question, HEADER_BYTES);
  if (address === undefined) return answer;
  const at = HEADER_BYTES + question.length;
  view.setUint16(at, POINTER_TO_QUESTION);
  view.setUint16(at + 2, type);
  view.setUint16(at + 4, CLASS_IN);
  view.setUint32(at + 6, TTL_SECONDS);
  view.setUint16(at + 10, address.length);
  answer.set(address, at + 12);
  return answer;
}

/** Name, type and class of the one question. */
function questionOf(query: Uint8Array): Uint8Array | undefined {
  // A response, or not one question.
  if (query.length < HEADER_BYTES || (query[2]! & 0x80) !== 0 || query[4] !== 0 || query[5] !== 1) {
    return undefined;
  }
  let at = HEADER_BYTES;
  while (at < query.length && query[at] !== 0) at += 1 + query[at]!;
  const end = at + 5;
  return end <= query.length ? query.subarray(HEADER_BYTES, end) : undefined;
}

/** The question of a server browser, in the protocol that Unreal Tournament and its time speak. */
export const STATUS_REQUEST = "\\status\\";

/** The game's answer: key, value, key, value. @returns undefined when that is not what was asked. */
export function answerStatus(
  request: string,
  status: Readonly<Record<string, string>>,
): string | undefined {
  if (request !== STATUS_REQUEST) return undefined;
  const pairs = Object.entries(status).map(([key, value]) => `\\${key}\\${value}`);
  return `${pairs.join("")}\\final\\\\queryid\\1.1`;
}

/** Reads {@linkcode answerStatus}. @returns undefined when it is not whole. */
export function parseStatus(text: string): Record<string, string> | undefined {
  const [first, ...words] = text.split("\\");
  if (first !== "" || !words.includes("final")) return undefined;
  const status: Record<string, string> = {};
  for (let at = 0; at + 1 < words.length && words[at] !== "final"; at += 2) {
    status[words[at]!] = words[at + 1]!;
  }
  return status;
}
