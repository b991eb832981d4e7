"""Files that paddle 2.6.2 wrote under numpy 1.26.4: a state dict of every type, an optimizer's state, a nested dict.

Compressed, in base 85. `state_*` holds STATE, where "b" was bfloat16.
"""

from __future__ import annotations

import base64
import zlib

import numpy as np

STATE = {
    "w": np.array([[1.5, -2.0], [3.25, 4.0]], np.float32),
    "h": np.array([1, 2], np.float16),
    "b": np.array([1.5, -3.0], np.float32),
    "d": np.array([0.1], np.float64),
    "i": np.array([1, -2], np.int64),
    "t": np.array([True, False]),
    "c": np.array([1 + 2j], np.complex64),
    "s": np.array(3.0, np.float32),
    "z": np.zeros([0, 3], np.float32),
}

_PACKED = {
    "nested_protocol2": (
        "c-mc&&ubJh6vt<0`$N;Jty+Kos<k?;x>WEaMK6Njz!q|v+c1-fO<;Crzu63B4?-`ywNSx}2kli558|a4LAsFn!!()d#dk;o@B7~O"
        "^ImrSxA1~!+Vi|#neiMg#>zbBOv|zukS&#Q#j}@^X##(Zq8&stR=dOHw$PYjahz5%*RqIXqN{$+38tfYtH@=+6BTcCcH#}pu%hbq"
        "haFZb-sx3VpD2|KNvt@tHd<A#|Llp16xm4@r$TRp(=29|j134c+=GBbEo+csu0hEY>;44uW1OKlyN7cW3qjZl+o3<k;@_5;9`<eJ"
        "`N+2wZ=T}9{<}R~q*w~VcGGPWm%82V>)$q-BlI*br~86Lfz8$*%-1b5k@XjIXeKN5q51gSe5=2kALiKndM3@pH%FUhf-AyuT&1|C"
        "aXlU5#t1hlZbeg$S0)487XNK0wcEKPW<@jVvatMjDOMc6Kf*n+<OmiV!Tb84J}}4sZmc?|`xFl}0_(Ik!aBvns`*LYFPXq2JDM9e"
        "S9tvD#m`SJK3APTX6dX9"
    ),
    "nested_protocol4": (
        "c-m`VnVP`J00y;FG<sNb^HWlDru1+p=jY_4CYNO9=M@8a{zWONMX4z+naL$nCQs1}0;*&yPt8ovD4Ej3kyM(QQ<4c%$68Wakdq2j"
        "(ZiFInU|Va6mOtc9&a$EM>MZAx1drlIlm}XFSit^I<crIu@a~(z9=;rXhlg;DcIy5R<Ob;J?wcY5G9kRcr&z4ab`@K(mn-ftv91L"
        "vo}-QlnlNe)|8UU0<dLFX(m%TJ0SARJ&ZO}{QUg9{sRG+@Mb8PlGN!eabdat{>&${_bcC?YPa(3`h9z>GWRoWvDrTbDBU)t6{x$1"
        "B`GtpcuEE*lJk>*&d=b@5CFL%LkQ*uCLl+u)0yM!nKS!97-2?f4{K^cesabXpi7u?il(^R@0<w&vr6><IS!Zx"
    ),
    "opt_protocol2": (
        "c-nnYJx{|h5KU6rLMTu^3zYBAOi_^-k?4j*P=rzjZ&BhHIZ~SRTpN_3QkS;$C%`{p<&S}r!q9=<aJKIJ-n)D5Ydug5R8tfs3S;6i"
        "w_(1z4flma2@ZMcHbBL(Xm?T*CybbF5%JJt%u98b5uC(b&IIN<Xp>iZ989`Uu#^GJVHYO>!Cjri*+qvUQl*v;B~;2ZJs!qaP#(g("
        "0}CV29auCh)hbxp5Gucv0Z%&;xr8){c)o_^@!JSi9H<&rA!oaRRok}jzh&gfQaG&nV_HN9N)})J=D!KnsZ`%^V3Wg^KW&6RZA6V~"
        "G~a5Q%29V5*v&@O22iKfOiZ5=gT0J+-+==Thd!#v)`R1=FeQPA2!o>@92+?%^19q5odi=ju~bz4D@6=W?`}Wev-l9GF6*t_ZNW(J"
        "lstOOYZFeGEstgs&U$ceP<7^CUeMai6)%M_e*iaDrj-"
    ),
    "opt_protocol4": (
        "c-nPPOH0E*5YDCzQR&5l5AYB46msw=7|20zB}nUi*=$xeuz9fERdNt|@ex?)q2odSiN8*h6v2Z1U}hL*zL{@kIeuRuXTTFo?TO4w"
        "P8A7*M-q|;E-RMnhJ;{`N>kKLz$(Rq!bqJ{rDy|oLKJ6JxzNfm4QsI8&<NHqvrWqyu=5NtO5qh|FvSRuu=@hSvtFi~n)f94{v6u3"
        "O?_n11tdvw{oP@3*wK)-@u}l1qyG%L@*nBxwsbKTey>36|L%9Y<gktRw)m5q8JRP|Gb6cz{uu|7E;QkF#ROnv{UMbKt}eemdVCst"
        "HXrUbif4D#EmgGOnyaJ>QPj^6X!lFS@ovq=1V0+wnEe"
    ),
    "state_protocol2": (
        "c-n2#>r&G|6bJCMT$G@Kpn~FE)Z(Sma;u6^@0V!B1+{pKNgCKHP5VzbViB}o0C@y`6Tj$8`(V1eNf>9yW@eL_v*-NwWOnQEH7JRE"
        "Oi`3&#4N`vRccAA?Apnax5SEu>l!sxcWtZeRGI5pOhw#Zr8)&aiWW^-N2{e<<$`ThRof9CD%xaK6YcqS{$4Uz(Me&~26hv4Y(gdI"
        "OlUDJuEjU7Cn#B9wF=MNn~(F1g;DI=`o4)Sg6@RYBCAbee=e7M^p_7gX$nJ+xkcOZy^0vk`m~%CWhSdAjd~Wnl#>St4l*1vWetix"
        "8mDs8{gm(IFu@VIlXVQxfKKD6ppOw8=QQ1ko{(s(FejBPP737|!D)swX3+OwsGJqbIfC<nk_Z$pjUl02Ah;N<T#`z=-&nR;$7SIp"
        "39c{<`%VF=&`AqtgkV%Sv2~1v-DEH>oC$(Vv~yKDU3_ihXXD5A^J^N{1bCfblHrCA7BLlq(*n#A+zcAK6@bMIZVT`Z!QE)^o&@{("
        "+L+>x=I`d8{~z2J@&kg043B)7K?~)_LViM!3*@JPY^E?H<YxpVJTt49-QmwkKQ4Vd7t#xYmkfDdvM?V?uY~lP;7#yT-v*ME!8;-8"
        "1n;AJG^EiXyKBgEnT07Ri=e<@`&1PRA+;zdN>Jp~5bfSRU`jTN4<hj+!4gBsPh5c$CYD8Fg#coYiq^6Lm#160ZhA$2i5*>6%^I_-"
        "Dyl;SjKMSW1H8nnywRR(7v{<{hHI2;X1h85;^3z>EGK9z-^14}+K%lS%r5B6cB*ApAI4|e7adBWMhBxqX{^vxbZ7)$=u~uQ6suH="
        "4vk@r&PRvF@s%z_hbHiiI{8i>vW-RC)mf>+8>)L=@*nu}s@M"
    ),
    "state_protocol4": (
        "c-n=MOH0E*6oqH{po${3pc_~2DoC-lS{H=|yE71qx^Wfq7&`@<mgxkkD0JhaFuPt6{U`4F%dC@3P{Ap=i-erqeD_Swo#bBMvM8<x"
        "C<}ZGVk-#y!*RtMFjDD<H@xRC=8QqC+l+XFV8mJIahQR~$BiHgfv;L-V4_E8V;7#`9Lgp(GiK%qXkO%fJ|2?jqs(<3rZ4J!R^TRB"
        "mUXs}6<<um!JW2?2+dp4(j1|VfzZSNDGN-2=4c_BL05k!$cGI{t^HDINyp5gCQ3N&a!#1enYWC&;`ka4PW+staaKOwqxx(qR&Tkd"
        "UMj1IRfOnkp-M6Na;97To5H;|g$zcD<1Ig@mwrx}UzBC????Yxdvr632N_Aron{;|vvQGSpR%-b5pQA0h<`cgILzr2PM9Tc5+WCw"
        "Vo~anfG~#>-{vG34VZlZbXy}=f$nPL8qj@>d<e9mk?TNDHS!TqOCuixz0$}Hpte{ePM0v7_lMGO7*@Ukh&*p<"
    ),
}

FILES = {name: zlib.decompress(base64.b85decode(packed)) for name, packed in _PACKED.items()}
