$PROB Two compartments, infused
$INPUT ID TIME DV AMT RATE MDV
$DATA infusion.csv
$SUBS ADVAN3 TRANS4
$PK
  CL = THETA(1)*EXP(ETA(1))
  V1 = THETA(2)
  Q  = THETA(3)
  V2 = THETA(4)
  S1 = V1
$ERR
  IPRED = F
  Y = IPRED + EPS(1)
$THETA (0, 2.4) 18 1.7 (44)
$OMEGA 0.16
$SIGMA 1
