/**
 * Clears up after a life that was given up in the middle of its policy module, see life_memory.ts.
 *
 * @module
 */
import { type Arena, closeNoted, type Syscalls } from "../ffi/mod.ts";
import { giveBackShare } from "../flow/mod.ts";
import type { LifeMemory } from "./life_memory.ts";
import type { WorkerConfig } from "./protocol.ts";

/** Closes what that life had open, its listeners among it, and takes its flows out of the tables of limits. */
export function giveBack(
  sys: Syscalls,
  arena: Arena,
  { clientTable, udpClientTable }: WorkerConfig,
  left: LifeMemory,
): void {
  closeNoted(sys, arena, left.descriptors);
  if (clientTable !== undefined && left.clients !== undefined) giveBackShare(clientTable, left.clients);
  if (udpClientTable !== undefined && left.udpClients !== undefined) {
    giveBackShare(udpClientTable, left.udpClients);
  }
}
