/**
 * The destination that a session was last chosen for: as long as its client goes on to write there, nobody has to be
 * asked again, and the flow keeps its way whatever a new configuration says.
 *
 * @module
 */
import { AF_INET } from "../ffi/mod.ts";
import { type EndpointKey, endpointKey, writeEndpoint } from "./session_table.ts";

/** One session's. */
export class LastDestination {
  #key: EndpointKey | undefined = undefined;

  /** It is the one whose sockaddr is at word `at`. */
  set(words: Int32Array, at: number): void {
    if (!this.is(words, at)) this.#key = endpointKey(words, at);
  }

  /** Whether it is the one whose sockaddr is at word `at`. */
  is(words: Int32Array, at: number): boolean {
    const key = this.#key;
    if (key === undefined || key.familyPort !== words[at]) return false;
    if ((key.familyPort & 0xffff) === AF_INET) return key.address0 === words[at + 1];
    return key.address0 === words[at + 2] && key.address1 === words[at + 3] &&
      key.address2 === words[at + 4] && key.address3 === words[at + 5];
  }

  /** Writes its sockaddr to word `at`: seven words. */
  write(words: Int32Array, at: number): void {
    if (this.#key !== undefined) writeEndpoint(this.#key, words, at);
  }
}
