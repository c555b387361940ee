import { runCases } from '../conformance/case.ts';
import { CHAIN } from '../conformance/chain.ts';
import { REFERENCES, TARTANS } from '../conformance/openings.ts';

runCases([...REFERENCES, ...TARTANS], CHAIN);
