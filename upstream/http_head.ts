/**
 * Reads the head of an HTTP proxy's answer to CONNECT (RFC 9112, sections 2 to 5), in whatever pieces it comes, and
 * keeps nothing of it but the status. No I/O.
 *
 * Strict about what an attacker could hide a second meaning in (folded lines, NUL, a carriage return alone, spaces before
 * a colon), lenient in one thing that RFC 9112 allows: a line may end with a line feed alone.
 *
 * @module
 */
import type { Reader } from "./stream_io.ts";

/** Of all heads of one answer, informational ones too. */
export const MAX_HEAD_BYTES = 8192;

const HTAB = 0x09, LF = 0x0a, CR = 0x0d, SP = 0x20, COLON = 0x3a, DEL = 0x7f, ZERO = 0x30, NINE = 0x39;

const VERSION = new TextEncoder().encode("HTTP/1.");

/** RFC 9110, section 5.6.2: what names of fields are made of. */
const TOKEN: readonly boolean[] = Array.from(
  { length: 256 },
  (_, code) => /[!#$%&'*+.^_`|~0-9A-Za-z-]/.test(String.fromCharCode(code)) && code < 128,
);

/** In the status line: version, its last digit, space, three digits of status, then text. In a field: name, value. */
type Place =
  | "version"
  | "minor"
  | "space"
  | "status"
  | "after status"
  | "reason"
  | "line start"
  | "name"
  | "value"
  | "line feed"
  | "last line feed";

/** An answer's head. */
export class ResponseHead implements Reader {
  #place: Place = "version";
  /** Of the version's or the status's characters, how many there have been. */
  #count = 0;
  #bytes = 0;
  #status = 0;
  #isDone = false;
  #error: string | undefined;

  get isDone(): boolean {
    return this.#isDone;
  }

  /** Once done: 200 to 999, or 101, or what the error is about. */
  get status(): number {
    return this.#status;
  }

  /** What is wrong with it, when it is done because of that. */
  get error(): string | undefined {
    return this.#error;
  }

  take(bytes: Uint8Array): number {
    for (let i = 0; i < bytes.length; i++) {
      if (this.#isDone) return i;
      if (++this.#bytes > MAX_HEAD_BYTES) this.#fail(`a head of more than ${MAX_HEAD_BYTES} bytes`);
      else this.#next(bytes[i]!);
    }
    return bytes.length;
  }

  #next(code: number): void {
    switch (this.#place) {
      case "version":
        if (code !== VERSION[this.#count]) return this.#fail("no HTTP/1.x status line");
        if (++this.#count === VERSION.length) this.#place = "minor";
        return;
      case "minor":
        if (!isDigit(code)) return this.#fail("no HTTP/1.x status line");
        this.#place = "space";
        return;
      case "space":
        if (code !== SP) return this.#fail("no HTTP/1.x status line");
        this.#place = "status";
        this.#count = this.#status = 0;
        return;
      case "status":
        if (!isDigit(code)) return this.#fail("a status that is no number");
        this.#status = 10 * this.#status + code - ZERO;
        if (++this.#count < 3) return;
        if (this.#status < 100) return this.#fail("a status below 100");
        this.#place = "after status";
        return;
      case "after status":
        if (code === SP) this.#place = "reason";
        else if (!this.#endsLine(code)) this.#fail("a status of more than three digits");
        return;
      case "reason":
      case "value":
        if (!this.#endsLine(code) && !isText(code)) this.#fail(`a control character, ${code}`);
        return;
      case "line start":
        if (code === CR) this.#place = "last line feed";
        else if (code === LF) this.#endHead();
        else if (code === SP || code === HTAB) this.#fail("a folded header line");
        else if (TOKEN[code]) this.#place = "name";
        else this.#fail("a header line without a name");
        return;
      case "name":
        if (code === COLON) this.#place = "value";
        else if (!TOKEN[code]) this.#fail("a header line that is no name and value");
        return;
      case "line feed":
        if (code === LF) this.#place = "line start";
        else this.#fail("a carriage return within a line");
        return;
      case "last line feed":
        if (code === LF) this.#endHead();
        else this.#fail("a carriage return within a line");
        return;
    }
  }

  #endsLine(code: number): boolean {
    if (code === LF) this.#place = "line start";
    else if (code === CR) this.#place = "line feed";
    else return false;
    return true;
  }

  #endHead(): void {
    // RFC 9110, section 15.2: any number of them may come before the answer. But 101 is one: to what we did not ask for.
    const isInformational = this.#status < 200 && this.#status !== 101;
    if (!isInformational) this.#isDone = true;
    this.#place = "version";
    this.#count = 0;
  }

  #fail(error: string): void {
    this.#error = error;
    this.#isDone = true;
  }
}

function isDigit(code: number): boolean {
  return code >= ZERO && code <= NINE;
}

/** RFC 9110, section 5.5: visible characters, spaces, tabs and what is beyond ASCII. */
function isText(code: number): boolean {
  return code >= SP ? code !== DEL : code === HTAB;
}
