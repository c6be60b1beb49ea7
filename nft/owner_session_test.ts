import { assertEquals } from "../tests/assert.ts";
import { FakeExec, type FakeSession } from "./fake_exec.ts";
import { OwnerSession } from "./owner_session.ts";

/** As nft -i answers a line that is none. */
const refusal = (transaction: number) =>
  `Error: syntax error, unexpected newline\nend_of_transaction_${transaction}\n^^^^\n`;
const REFUSED = "Error: Could not process rule: No buffer space available\nadd rule x\n^^^^\n";

/** A session that has answered like that, one text for each transaction. */
function answering(...answers: string[]): OwnerSession {
  const exec = new class extends FakeExec {
    override open(argv: readonly string[]): FakeSession {
      const session = super.open(argv);
      session.exchange = () => Promise.resolve({ stdout: "", stderr: answers.shift()! });
      return session;
    }
  }();
  return OwnerSession.open(exec, "pellucid", "true");
}

Deno.test("OwnerSession: what nft says late of one transaction is not about the next", async () => {
  const session = answering(
    "",
    refusal(1) + refusal(2),
    REFUSED + refusal(3),
    "",
    REFUSED + refusal(4) + refusal(5),
  );
  assertEquals(await session.run("a"), "the nft process that is to hold our table does not answer");
  assertEquals(await session.run("b"), undefined);
  assertEquals(await session.run("c"), REFUSED.split("\n")[0]);
  assertEquals(await session.run("d"), "the nft process that is to hold our table does not answer");
  assertEquals(await session.run("e"), undefined);
});
