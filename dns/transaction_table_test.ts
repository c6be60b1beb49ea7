import fc from "fast-check";
import { assertEquals } from "../tests/assert.ts";
import { Transaction } from "./query.ts";
import { TransactionTable } from "./transaction_table.ts";

Deno.test("transaction table: finds what a Map would find", () => {
  // Few buckets, so that chains form.
  const id = fc.tuple(fc.nat(3), fc.nat(63)).map(([bucket, row]) => bucket + 1024 * row);
  fc.assert(
    fc.property(fc.array(id, { maxLength: 200 }), (ids) => {
      const table = new TransactionTable(), model = new Map<number, Transaction>();
      for (const id of ids) {
        const known = model.get(id);
        assertEquals(table.find(id), known);
        if (known !== undefined) {
          table.remove(known);
          model.delete(id);
          assertEquals(table.find(id), undefined);
          continue;
        }
        const transaction = new Transaction();
        transaction.id = id;
        table.add(transaction);
        model.set(id, transaction);
      }
      assertEquals(table.size, model.size);
      for (const [id, transaction] of model) assertEquals(table.find(id), transaction);
    }),
  );
});
