/**
 * The destination that a session's client has written to last: as long as it goes on to write there, nobody has to be
 * asked again, and the flow keeps its way whatever a new configuration says.
 *
 * @module
 */
import { AF_INET } from "../ffi/mod.ts";
import { type EndpointKey, writeEndpoint } from "./session_table.ts";

/** One session's. */
export class LastDestination implements EndpointKey {
  /** 0: there is none yet. */
  familyPort = 0;
  address0 = 0;
  address1 = 0;
  address2 = 0;
  address3 = 0;

  /** It is the one whose sockaddr is at word `at`. */
  set(words: Int32Array, at: number): void {
    const familyPort = this.familyPort = words[at]!;
    if ((familyPort & 0xffff) === AF_INET) {
      this.address0 = words[at + 1]!;
    } else {
      this.address0 = words[at + 2]!;
      this.address1 = words[at + 3]!;
      this.address2 = words[at + 4]!;
      this.address3 = words[at + 5]!;
    }
  }

  /** Whether it is the one whose sockaddr is at word `at`. */
  is(words: Int32Array, at: number): boolean {
    if (this.familyPort !== words[at]) return false;
    if ((this.familyPort & 0xffff) === AF_INET) return this.address0 === words[at + 1];
    return this.address0 === words[at + 2] && this.address1 === words[at + 3] &&
      this.address2 === words[at + 4] && this.address3 === words[at + 5];
  }

  /** Writes its sockaddr to word `at`: seven words. */
  write(words: Int32Array, at: number): void {
    writeEndpoint(this, words, at);
  }
}
