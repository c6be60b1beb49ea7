/**
 * Notes which descriptors a thread has, in memory that outlives it: what a dead thread had open stays open in the
 * process, and whoever talks to it would wait for ever.
 *
 * @module
 */
import type { Arena, Block } from "./arena.ts";
import { SO_LINGER, SOL_SOCKET } from "./constants.ts";
import type { Syscalls } from "./syscalls.ts";

/**
 * The same system calls, with every descriptor that they make noted while it is open.
 *
 * @param memory a byte for each number; those beyond it are not noted.
 */
export function noteDescriptors(sys: Syscalls, memory: SharedArrayBuffer): Syscalls {
  const held = new Uint8Array(memory);
  const note = (fd: number) => {
    if (fd >= 0) held[fd] = 1;
    return fd;
  };
  return {
    ...sys,
    socket: (domain, type, protocol) => note(sys.socket(domain, type, protocol)),
    accept4: (fd, address, length, flags) => note(sys.accept4(fd, address, length, flags)),
    open: (path, flags, mode) => note(sys.open(path, flags, mode)),
    epoll_create1: (flags) => note(sys.epoll_create1(flags)),
    pipe2(fds, flags) {
      const result = sys.pipe2(fds, flags);
      if (result < 0 || fds === null) return result;
      const ends = new Deno.UnsafePointerView(fds);
      note(ends.getInt32(0));
      note(ends.getInt32(4));
      return result;
    },
    close(fd) {
      // Before: once it is closed, the number may be another thread's.
      held[fd] = 0;
      return sys.close(fd);
    },
  };
}

/**
 * Closes everything that is noted in `memory`, whose thread must not use it any more; connections are reset.
 *
 * @returns how many descriptors that were.
 */
export function closeNoted(sys: Syscalls, arena: Arena, memory: SharedArrayBuffer): number {
  const held = new Uint8Array(memory);
  const linger: Block = arena.allocate(8);
  linger.words.set([1, 0]);
  let closed = 0;
  for (let fd = held.indexOf(1); fd >= 0; fd = held.indexOf(1, fd + 1)) {
    held[fd] = 0;
    // Of what is no connection it is refused, or means nothing.
    sys.setsockopt(fd, SOL_SOCKET, SO_LINGER, linger.pointer, linger.length);
    sys.close(fd);
    closed++;
  }
  return closed;
}
