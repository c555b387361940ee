import { SHAPING } from '../conformance/bandwidth.ts';
import { runCases } from '../conformance/case.ts';
import { REFERENCES, TARTANS } from '../conformance/openings.ts';

runCases([...REFERENCES, ...TARTANS], SHAPING);
