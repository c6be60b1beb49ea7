/**
 * What interfaces are called, in this thread's network namespace (netdevice(7), SIOCGIFNAME).
 *
 * @module
 */
import type { Arena, Block } from "./arena.ts";
import { AF_INET, SIOCGIFNAME, SOCK_CLOEXEC, SOCK_DGRAM } from "./constants.ts";
import type { Syscalls } from "./syscalls.ts";

/** struct ifreq: a name of 16 bytes, then what is asked about. */
const IFREQ_BYTES = 40;
const NAME_BYTES = 16;

/** Arena bytes that it takes. */
export const INTERFACE_NAMES_BYTES = 64;

/** Asks the kernel each time: an interface can be renamed, and its number given to another. */
export class InterfaceNames {
  readonly #sys: Syscalls;
  readonly #request: Block;
  readonly #text = new TextDecoder();
  #fd = -1;

  constructor(sys: Syscalls, arena: Arena) {
    this.#sys = sys;
    this.#request = arena.allocate(IFREQ_BYTES);
  }

  /** undefined: there is none of that number, or no descriptor to ask by. */
  nameOf(index: number): string | undefined {
    if (this.#fd < 0) {
      this.#fd = this.#sys.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
      if (this.#fd < 0) return undefined;
    }
    const { bytes, words, pointer } = this.#request;
    words[NAME_BYTES / 4] = index;
    if (this.#sys.ioctl(this.#fd, SIOCGIFNAME, pointer) < 0) return undefined;
    const end = bytes.indexOf(0);
    return this.#text.decode(bytes.subarray(0, end < 0 ? NAME_BYTES : Math.min(end, NAME_BYTES)));
  }

  close(): void {
    if (this.#fd >= 0) this.#sys.close(this.#fd);
    this.#fd = -1;
  }
}
