/**
 * What all relaying of a worker shares, whichever listener a connection came by: one copy buffer and one pool of
 * pipes.
 *
 * @module
 */
import type { Arena, Syscalls } from "../ffi/mod.ts";
import type { Carrier } from "./half_pipe.ts";
import { PIPE_BYTES, PipePool } from "./pipe_pool.ts";
import type { TcpCounters } from "./settings.ts";

/** Arena bytes that a carrier takes. */
export const CARRIER_BYTES = PIPE_BYTES + 256;

/** @param maxPipes that exist at once for spliced and stalled data; whoever calls closes them. */
export function makeCarrier(sys: Syscalls, arena: Arena, counters: TcpCounters, maxPipes: number): Carrier {
  const { values, slots: { pipesNow } } = counters;
  const pipes = new PipePool(sys, arena, maxPipes, (by) => {
    values[pipesNow] = values[pipesNow]! + by;
  });
  const one = arena.allocate(4);
  one.words[0] = 1;
  return { sys, arena, buffer: arena.allocate(PIPE_BYTES), pipes, one };
}
