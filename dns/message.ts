/**
 * What must be known of a DNS message (RFC 1035, section 4.1) to tell whose answer it is. Everything behind the
 * question is carried unread.
 *
 * Both kinds of message come from strangers: nothing here trusts a length.
 *
 * @module
 */

/** Bytes of the header. */
export const HEADER_BYTES = 12;

const FLAGS = 2, RCODE = 3, QDCOUNT = 4, ANCOUNT = 6, NSCOUNT = 8, ARCOUNT = 10;
/** First byte of the flags: an answer, and what kind of query it is about. */
const QR = 0x80, OPCODE = 0x78;
const RCODE_MASK = 0x0f;
/** Longer ones, and pointers, do not occur in questions. */
const MAX_LABEL_BYTES = 63;
/** QTYPE and QCLASS. */
const QUESTION_TAIL_BYTES = 4;
/** The pseudo-record about the message itself (RFC 6891): its name is the root, and its type follows. */
const TYPE_OPT = 41;

function wordAt(bytes: Uint8Array, at: number): number {
  return bytes[at]! << 8 | bytes[at + 1]!;
}

/** The transaction id of the message at `at`. */
export function readId(bytes: Uint8Array, at: number): number {
  return wordAt(bytes, at);
}

/** Gives the message at `at` a transaction id. */
export function writeId(bytes: Uint8Array, at: number, id: number): void {
  bytes[at] = id >> 8;
  bytes[at + 1] = id & 0xff;
}

/**
 * Where the question section of a query ends, counted from its first byte.
 *
 * @returns -1 when it is no query, or its question cannot be read.
 */
export function findQuestionEnd(bytes: Uint8Array, at: number, length: number): number {
  if (length < HEADER_BYTES || (bytes[at + FLAGS]! & QR) !== 0) return -1;
  let end = HEADER_BYTES;
  for (let left = wordAt(bytes, at + QDCOUNT); left > 0; left--) {
    for (;;) {
      if (end >= length) return -1;
      const label = bytes[at + end++]!;
      if (label > MAX_LABEL_BYTES) return -1;
      if (label === 0) break;
      end += label;
    }
    end += QUESTION_TAIL_BYTES;
    if (end > length) return -1;
  }
  return end;
}

/**
 * Whether the message at `at` answers the query at `queryAt`, but for the id: the same kind, the same question to
 * the byte (upper and lower case too: some clients hide random bits in it). An error may do without the question,
 * which a server that could not read it does not repeat; such an answer has no record but OPT.
 *
 * @param questionEnd of the query, as {@linkcode findQuestionEnd} has found it.
 */
export function isAnswer(
  bytes: Uint8Array,
  at: number,
  length: number,
  queryAt: number,
  questionEnd: number,
): boolean {
  if (length < HEADER_BYTES) return false;
  if (((bytes[at + FLAGS]! ^ bytes[queryAt + FLAGS]!) & (QR | OPCODE)) !== QR) return false;
  if (length >= questionEnd && isSame(bytes, at + QDCOUNT, queryAt + QDCOUNT, 2)) {
    return isSame(bytes, at + HEADER_BYTES, queryAt + HEADER_BYTES, questionEnd - HEADER_BYTES);
  }
  return (bytes[at + RCODE]! & RCODE_MASK) !== 0 &&
    wordAt(bytes, at + QDCOUNT) === 0 && wordAt(bytes, at + ANCOUNT) === 0 &&
    wordAt(bytes, at + NSCOUNT) === 0 && hasAtMostOpt(bytes, at, length);
}

/** Whether the additional section, which begins behind the header, is empty or an OPT record. */
function hasAtMostOpt(bytes: Uint8Array, at: number, length: number): boolean {
  const records = wordAt(bytes, at + ARCOUNT), record = at + HEADER_BYTES;
  if (records === 0) return true;
  return records === 1 && length >= HEADER_BYTES + 3 && bytes[record] === 0 &&
    wordAt(bytes, record + 1) === TYPE_OPT;
}

function isSame(bytes: Uint8Array, a: number, b: number, length: number): boolean {
  for (let i = 0; i < length; i++) {
    if (bytes[a + i] !== bytes[b + i]) return false;
  }
  return true;
}
